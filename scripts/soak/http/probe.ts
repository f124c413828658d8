/**
 * Preloaded into parent and enclave by `make soak-http` alone (`--import`): connects to the soak's socket, says which process it
 * is, and answers each line with what the process holds. Neither knows of it.
 */
import { IncomingMessage, ServerResponse } from "node:http";
import { connect, Socket } from "node:net";
import { queryObjects } from "node:v8";
import { isMainThread } from "node:worker_threads";
import { type Holdings, PROBE_SOCKET } from "./holdings.ts";

const timer = setTimeout(() => {}, 0);
const Timeout = timer.constructor;
clearTimeout(timer);
const COUNTED = { sockets: Socket, requests: IncomingMessage, responses: ServerResponse, timers: Timeout };

const path = process.env[PROBE_SOCKET];
if (isMainThread && path !== undefined) {
  const socket = connect(path).unref();
  socket.on("error", () => socket.destroy());
  socket.write(`${JSON.stringify({ pid: process.pid })}\n`);
  // One question at a time: none arrives in pieces.
  socket.on("data", (question) => {
    void holdings(question.includes("objects")).then((answer) => socket.write(`${JSON.stringify(answer)}\n`));
  });
}

async function holdings(withObjects: boolean): Promise<Holdings> {
  // What one pass lets finalizers release, and what ends in a later turn, the next one frees.
  for (let pass = 0; pass < 2; pass += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  const objects = Object.entries(withObjects ? COUNTED : {}).map(([name, type]) => [
    name,
    Number(queryObjects(type as new () => object, { format: "count" })),
  ]);
  return {
    ...{ heapUsed, external, arrayBuffers, rss, cpuUs: user + system, resources },
    objects: Object.fromEntries(objects) as Record<string, number>,
  };
}
