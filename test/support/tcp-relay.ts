/** A stretch of network that can be cut: TCP from loopback to loopback. */
import { connect, createServer, type Socket } from "node:net";

export interface TcpRelay {
  readonly port: number;
  /** From now on no byte passes, and nobody hears of that: neither an end nor a refusal. */
  cut(): void;
  /** What was under way is reset, as after a failover; what comes anew passes. */
  mend(): void;
  close(): Promise<void>;
}

export async function startTcpRelay(to: number): Promise<TcpRelay> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    keep(near);
    // While it is cut, a connection is taken by nobody at the other end.
    if (isCut) {
      near.pause();
      return;
    }
    const far = connect(to, "127.0.0.1");
    keep(far);
    near.pipe(far).pipe(near);
    near.once("close", () => far.destroy());
    far.once("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    mend() {
      isCut = false;
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
