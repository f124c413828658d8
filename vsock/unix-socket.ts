/**
 * vsock over unix sockets, as Firecracker and `vhost-device-vsock` do it (design section 5). Host to guest: connect to
 * `<path>`, send `CONNECT <port>\n`, read `OK <n>\n`. Guest to host: the stream arrives at `<path>_<port>`.
 */
import { lstat, unlink } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { VsockError, type VsockErrorCode } from "./errors.ts";
import type { Vsock, VsockListener } from "./vsock.ts";

/** `sun_path` is 108 bytes with its NUL (unix(7)); `_65535` may be added. */
const MAX_PATH_BYTES = 101;
/** `CONNECT 4294967295\n` and `OK 4294967295\n` are shorter. */
const MAX_HANDSHAKE_BYTES = 32;
const HANDSHAKE_TIMEOUT_MS = 5_000;

/** The parent's side. */
export function hostVsock(path: string): Vsock {
  checkPath(path);
  const sockets = new SocketSet();
  return {
    async connect(port, { timeoutMs }) {
      const deadline = performance.now() + timeoutMs;
      const socket = sockets.add(await connectUnix(path, timeoutMs));
      socket.write(`CONNECT ${port}\n`);
      const line = await readLine(socket, Math.max(1, deadline - performance.now()));
      if (/^OK [0-9]{1,10}$/.test(line)) return socket;
      socket.destroy();
      throw new VsockError("HANDSHAKE_FAILED", "the other side did not say OK");
    },
    async listen(port, accept) {
      return sockets.listen(`${path}_${port}`, port, accept);
    },
    close: () => sockets.close(),
  };
}

/** The enclave's side, where no hypervisor stands between: it takes the hypervisor's part of the handshake itself. */
export function guestVsock(path: string): Vsock {
  checkPath(path);
  const sockets = new SocketSet();
  const ports = new Map<number, (stream: Socket) => void>();
  let dispatcher: Promise<VsockListener> | undefined;

  async function dispatch(socket: Socket): Promise<void> {
    const line = await readLine(socket, HANDSHAKE_TIMEOUT_MS);
    const port = /^CONNECT ([0-9]{1,10})$/.exec(line)?.[1];
    const accept = port === undefined ? undefined : ports.get(Number(port));
    if (accept === undefined) {
      socket.destroy();
      return;
    }
    socket.write(`OK ${port}\n`);
    accept(socket);
  }

  return {
    async connect(port, { timeoutMs }) {
      return sockets.add(await connectUnix(`${path}_${port}`, timeoutMs));
    },
    async listen(port, accept) {
      if (ports.has(port)) throw new VsockError("PORT_IN_USE", `port ${port} is listened on already`);
      ports.set(port, accept);
      dispatcher ??= sockets.listen(path, 0, (socket) => {
        dispatch(socket).catch(() => socket.destroy());
      });
      try {
        await dispatcher;
      } catch (error) {
        ports.delete(port);
        dispatcher = undefined;
        throw error;
      }
      return {
        port,
        close: async () => {
          ports.delete(port);
        },
      };
    },
    async close() {
      ports.clear();
      await sockets.close();
    },
  };
}

/** Every server and stream of one side, so that closing it leaves nothing behind. */
class SocketSet {
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Server>();
  #closed = false;

  add(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    if (this.#closed) socket.destroy();
    return socket;
  }

  async listen(path: string, port: number, accept: (socket: Socket) => void): Promise<VsockListener> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      // Whoever takes the stream hears of its errors by its close; without a listener an error would end the process.
      socket.on("error", () => {});
      this.add(socket);
      accept(socket);
    });
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
    await listenUnix(server, path);
    if (this.#closed) server.close();
    return {
      port,
      // Not awaited: the server's own close waits for its streams, and those stay open.
      close: async () => void server.close(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#servers].map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH_BYTES) {
    throw new VsockError(
      "PATH_TOO_LONG",
      `socket path of ${length} bytes, limit ${MAX_PATH_BYTES}: use a shorter folder`,
    );
  }
}

async function connectUnix(path: string, timeoutMs: number): Promise<Socket> {
  const socket = createConnection({ path, allowHalfOpen: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    reject(new VsockError("CONNECT_TIMEOUT", `no connection within ${Math.round(timeoutMs)} ms`));
  }, timeoutMs);
  socket.once("connect", resolve);
  socket.once("error", (cause) => reject(new VsockError("CONNECT_REFUSED", "nothing listens there", { cause })));
  try {
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  socket.on("error", () => {});
  return socket;
}

async function listenUnix(server: Server, path: string): Promise<void> {
  await removeDeadSocket(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // It stays after the start: an accept that fails for want of descriptors must not end the process.
  server.on("error", (cause) => reject(new VsockError("PORT_IN_USE", `cannot listen at ${path}`, { cause })));
  server.listen(path, resolve);
  await promise;
}

/**
 * A process that was killed leaves its socket's file behind: that is removed. A socket that is answered is somebody's,
 * and a file that is no socket is none of ours; both stay.
 */
export async function removeDeadSocket(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined);
  if (file?.isSocket() !== true) return;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ path });
  socket.once("connect", () => resolve(false));
  // A live one whose queue is full fails too, with EAGAIN.
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  const isDead = await promise;
  socket.destroy();
  if (isDead) await unlink(path).catch(() => {});
}

/** Reads up to a newline and gives what follows back to the stream. On failure the stream is destroyed. */
async function readLine(socket: Socket, timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let held = Buffer.alloc(0);
  const fail = (code: VsockErrorCode, why: string) => reject(new VsockError(code, why));
  const timer = setTimeout(() => fail("CONNECT_TIMEOUT", "no line of handshake in time"), timeoutMs);
  // Firecracker closes the stream without a word where nothing listens.
  const onEnd = () => fail("CONNECT_REFUSED", "the stream ended in the handshake: nothing listens there");
  const onReadable = () => {
    for (;;) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      held = Buffer.concat([held, chunk]);
      const newline = held.indexOf(0x0a);
      if (newline >= 0 && newline <= MAX_HANDSHAKE_BYTES) {
        socket.off("readable", onReadable);
        if (newline + 1 < held.length) socket.unshift(held.subarray(newline + 1));
        resolve(held.toString("latin1", 0, newline));
        return;
      }
      if (held.length > MAX_HANDSHAKE_BYTES) {
        fail("HANDSHAKE_FAILED", "the handshake has no line end");
        return;
      }
    }
  };
  socket.on("readable", onReadable);
  socket.once("end", onEnd);
  socket.once("close", onEnd);
  try {
    return await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.off("end", onEnd);
    socket.off("close", onEnd);
  }
}
