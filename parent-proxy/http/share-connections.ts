/** What one client may hold of the HTTP server beside its requests. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { FairShares, holderOf } from "./fair-shares.ts";

/** Requests on one connection that are not answered yet. Browsers send one at a time, and so do nearly all others. */
const MAX_PIPELINED = 16;

type OnCut = (reason: "connections" | "pipelined") => void;

/** Closes, unanswered, the connections of an address that holds as many as are free; a trusted proxy's stand for many. */
export function shareConnections(
  server: Server,
  options: {
    readonly maxConnections: number;
    readonly isTrustedProxy: (address: string) => boolean;
    readonly onCut: OnCut;
  },
): void {
  const shares = new FairShares(options.maxConnections);
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || options.isTrustedProxy(address)) return;
    const holder = holderOf(address);
    if (shares.take(holder) !== "taken") {
      options.onCut("connections");
      socket.destroy();
      return;
    }
    socket.once("close", () => shares.release(holder));
  });
}

/**
 * Closes a connection on which more requests wait than may. Node stops reading while answers are not taken, but hands on
 * whatever one read has brought: some thousands of the smallest.
 */
export function limitPipelining(server: Server, onCut: OnCut): void {
  const unanswered = new WeakMap<Socket, number>();
  server.prependListener("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const count = (unanswered.get(socket) ?? 0) + 1;
    unanswered.set(socket, count);
    response.once("close", () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    if (count <= MAX_PIPELINED || socket.destroyed) return;
    onCut("pipelined");
    socket.destroy();
  });
}
