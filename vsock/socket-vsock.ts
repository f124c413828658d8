/** {@link Vsock} over the addon's sockets, whatever their addresses: deadlines, whose streams are served, and the end. */
import { constants } from "node:os";
import type { Duplex } from "node:stream";
import { errnoError, errnoName } from "./errno.ts";
import { VsockError } from "./errors.ts";
import { isBusy, READABLE, type SocketAddon, type SocketHandle, WRITABLE } from "./socket-addon.ts";
import { SocketStream } from "./socket-stream.ts";
import type { Vsock, VsockListener } from "./vsock.ts";

/** As node:net's. More wait in the kernel than one turn of the event loop leaves behind. */
export const BACKLOG = 511;
const MAX_ACCEPTS_PER_TURN = 64;
/** How long accepting pauses where descriptors or memory ran out: the streams wait in the backlog meanwhile. */
const ACCEPT_PAUSE_MS = 100;

export interface VsockCounters {
  /** Streams from a CID that is not served, closed unread. */
  readonly refusedPeers: number;
  /** Times that accepting paused because descriptors or memory had run out. */
  readonly acceptPauses: number;
}

/** AF_VSOCK, with what it counts. */
export interface AfVsock extends Vsock {
  readonly counters: VsockCounters;
}

/** How sockets are opened. A negated errno where one cannot be. */
export interface SocketAddresses {
  readonly listen: (port: number) => SocketHandle | number;
  readonly connect: (port: number, timeoutMs: number) => SocketHandle | number;
  /** The one CID that is served. */
  readonly peerCid: number;
}

export function socketVsock(addon: SocketAddon, addresses: SocketAddresses): AfVsock {
  const streams = new Set<SocketStream>();
  const listeners = new Set<VsockListener>();
  const connecting = new Set<(error: VsockError) => void>();
  const counters = { refusedPeers: 0, acceptPauses: 0 };
  let isClosed = false;

  function open(handle: SocketHandle): SocketStream {
    const stream = new SocketStream(addon, handle);
    streams.add(stream);
    stream.once("close", () => streams.delete(stream));
    // Whoever takes the stream hears of its errors by its close; without a listener an error would end the process.
    stream.on("error", () => {});
    return stream;
  }

  async function connect(port: number, { timeoutMs }: { readonly timeoutMs: number }): Promise<Duplex> {
    if (isClosed) throw new VsockError("CONNECTION_LOST", "closed");
    const handle = addresses.connect(port, Math.max(1, Math.ceil(timeoutMs)));
    if (typeof handle === "number") throw notConnected(port, handle);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      reject(new VsockError("CONNECT_TIMEOUT", `port ${port}: no connection within ${Math.round(timeoutMs)} ms`));
    }, timeoutMs);
    connecting.add(reject);
    const settle = () => {
      addon.watch(handle, 0);
      const result = addon.connectResult(handle);
      if (result === 0) resolve();
      else reject(notConnected(port, result));
    };
    handle.onReady = settle;
    const watching = addon.watch(handle, WRITABLE);
    if (watching < 0) reject(notConnected(port, watching));
    try {
      await promise;
    } catch (error) {
      addon.close(handle);
      throw error;
    } finally {
      clearTimeout(timer);
      connecting.delete(reject);
    }
    if (isClosed) {
      addon.close(handle);
      throw new VsockError("CONNECTION_LOST", "closed");
    }
    return open(handle);
  }

  async function listen(port: number, accept: (stream: Duplex) => void): Promise<VsockListener> {
    if (isClosed) throw new VsockError("CONNECTION_LOST", "closed");
    const handle = addresses.listen(port);
    if (typeof handle === "number") throw notListening(port, handle);
    let pause: NodeJS.Timeout | undefined;

    function acceptAll(): void {
      for (let accepted = 0; accepted < MAX_ACCEPTS_PER_TURN; accepted += 1) {
        if (!listeners.has(listener)) return;
        const peer = addon.accept(handle as SocketHandle);
        if (typeof peer === "number") {
          if (!isBusy(peer)) pauseAccepting();
          return;
        }
        if (peer.peerCid === addresses.peerCid) {
          accept(open(peer));
        } else {
          counters.refusedPeers += 1;
          addon.close(peer);
        }
      }
    }

    /** What waits keeps the listener readable: watching on would spin, and an error would end the process. */
    function pauseAccepting(): void {
      counters.acceptPauses += 1;
      addon.watch(handle as SocketHandle, 0);
      pause = setTimeout(() => addon.watch(handle as SocketHandle, READABLE), ACCEPT_PAUSE_MS);
    }

    const listener: VsockListener = {
      port,
      async close() {
        if (!listeners.delete(listener)) return;
        clearTimeout(pause);
        addon.close(handle as SocketHandle);
      },
    };
    listeners.add(listener);
    handle.onReady = acceptAll;
    const watching = addon.watch(handle, READABLE);
    if (watching < 0) {
      await listener.close();
      throw notListening(port, watching);
    }
    return listener;
  }

  return {
    counters,
    connect,
    listen,
    async close() {
      isClosed = true;
      for (const reject of connecting) reject(new VsockError("CONNECTION_LOST", "closed"));
      for (const listener of listeners) await listener.close();
      for (const stream of streams) stream.destroy();
    },
  };
}

/** vsock answers ECONNRESET where nobody listens, and ENODEV, EADDRNOTAVAIL or EAFNOSUPPORT where there is no vsock. */
function notConnected(port: number, negated: number): VsockError {
  const cause = errnoError("connect", negated);
  const code = negated === -constants.errno.ETIMEDOUT ? "CONNECT_TIMEOUT" : "CONNECT_REFUSED";
  return new VsockError(code, `port ${port}: no connection: ${errnoName(negated)}`, { cause });
}

function notListening(port: number, negated: number): VsockError {
  const cause = errnoError("listen", negated);
  return new VsockError("PORT_IN_USE", `cannot listen on port ${port}: ${errnoName(negated)}`, { cause });
}
