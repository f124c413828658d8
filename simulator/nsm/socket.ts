/**
 * A simulated /dev/nsm that another process can open: a unix socket whose frames, u32 big-endian length and bytes, carry
 * one raw request each way. Many requests may follow on one connection; responses come in their order.
 */
import { createConnection, createServer, type Socket } from "node:net";
import { FrameStream, removeDeadSocket } from "../../vsock/index.ts";
import { NsmSimulatorError } from "./errors.ts";
import type { SimulatedNsm } from "./simulated-nsm.ts";

/** `sun_path` is 108 bytes with its NUL (unix(7)). */
const MAX_PATH_BYTES = 107;

/**
 * @param socketPath - Made here; one that a dead process left behind is replaced.
 * @throws {@link NsmSimulatorError} `PATH_TOO_LONG`, `UNREACHABLE` if another process listens there.
 */
export async function serveNsm(
  nsm: Pick<SimulatedNsm, "handle">,
  socketPath: string,
): Promise<{ close(): Promise<void> }> {
  checkPath(socketPath);
  await removeDeadSocket(socketPath);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    answerInOrder(nsm, socket, () => sockets.delete(socket));
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) => reject(unreachable(`cannot listen at ${socketPath}`, cause)));
  server.listen(socketPath, resolve);
  await promise;
  return {
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** While requests are under way the socket is not read: a caller that never reads cannot make memory grow. */
function answerInOrder(nsm: Pick<SimulatedNsm, "handle">, socket: Socket, onClose: () => void): void {
  let last = Promise.resolve();
  let waiting = 0;
  const resumeWhenIdle = (): void => {
    if (waiting > 0) return;
    if (frames.isBackedUp) frames.onDrain(() => frames.resume());
    else frames.resume();
  };
  const frames = new FrameStream(socket, {
    onFrame: (request) => {
      frames.pause();
      waiting += 1;
      last = last
        .then(async () => frames.send(await nsm.handle(request)))
        .catch((error: unknown) => frames.destroy(error as Error))
        .finally(() => {
          waiting -= 1;
          resumeWhenIdle();
        });
    },
    onClose,
  });
}

export interface NsmConnection {
  /** @throws {@link NsmSimulatorError} `CONNECTION_LOST` */
  process(request: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

/** @throws {@link NsmSimulatorError} `PATH_TOO_LONG`, `UNREACHABLE` */
export async function connectNsm(socketPath: string): Promise<NsmConnection> {
  checkPath(socketPath);
  const socket = await connectUnix(socketPath);
  const waiting: PromiseWithResolvers<Uint8Array>[] = [];
  const lost = (cause?: Error): NsmSimulatorError =>
    new NsmSimulatorError("CONNECTION_LOST", "the simulated NSM closed the connection", { cause });
  const frames = new FrameStream(socket, {
    onFrame: (response) => {
      const first = waiting.shift();
      if (first === undefined) throw new NsmSimulatorError("CONNECTION_LOST", "a response that nobody asked for");
      first.resolve(Uint8Array.from(response));
    },
    onClose: (cause) => {
      for (const { reject } of waiting.splice(0)) reject(lost(cause));
    },
  });
  return {
    async process(request) {
      if (socket.destroyed) throw lost();
      const asked = Promise.withResolvers<Uint8Array>();
      frames.send(request);
      waiting.push(asked);
      return asked.promise;
    },
    close: () => frames.destroy(),
  };
}

async function connectUnix(path: string): Promise<Socket> {
  const socket = createConnection(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("connect", resolve);
  socket.once("error", (cause) => reject(unreachable(`no simulated NSM listens at ${path}`, cause)));
  await promise;
  return socket;
}

function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH_BYTES) {
    throw new NsmSimulatorError("PATH_TOO_LONG", `socket path of ${length} bytes, limit ${MAX_PATH_BYTES}`);
  }
}

function unreachable(message: string, cause: Error): NsmSimulatorError {
  return new NsmSimulatorError("UNREACHABLE", message, { cause });
}
