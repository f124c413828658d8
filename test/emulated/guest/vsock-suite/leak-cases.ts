import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, Worker } from "node:worker_threads";
import type { SocketHandle } from "../../../../vsock/socket-addon.ts";
import { type Address, CONNECT, connected, countPortsFrom, freePort, until, withSide } from "./address.ts";

const CONNECTIONS = 10_000;
/** A hundred bytes for each would be as much. What the addon holds is counted by itself, where it can be. */
const MAX_GROWTH_BYTES = 1024 * 1024;

const openFiles = () => readdirSync("/proc/self/fd").length;

/** The entry module, since a bundle is one file and this is a part of it. */
export function leakCases(entry: string): Readonly<Record<string, (address: Address) => Promise<void>>> {
  return {
    "ten thousand connections leak neither descriptors nor memory": (address) =>
      withSide(address, async (vsock) => {
        const port = freePort();
        await vsock.listen(port, (stream) => void stream.pipe(stream));
        const once = async (index: number) => {
          const stream = await vsock.connect(port, CONNECT);
          // One in four breaks off in the middle of what it was doing.
          if (index % 4 === 0) {
            stream.write("half");
            stream.destroy();
            return;
          }
          stream.end("echo");
          assert.equal(String(await buffer(stream)), "echo");
        };
        const many = async (count: number) => {
          for (let index = 0; index < count; index += 10) {
            await Promise.all(Array.from({ length: 10 }, (_, offset) => once(index + offset)));
          }
        };
        await many(1_000);
        const [filesBefore, memoryBefore] = [openFiles(), await heldMemory()];
        await many(CONNECTIONS);
        await until(() => openFiles() <= filesBefore);
        const growth = (await heldMemory()) - memoryBefore;
        // The listener, and what is being closed.
        assert((address.liveSockets() ?? 0) < 10, `${address.liveSockets()} sockets are held in memory`);
        assert(growth < MAX_GROWTH_BYTES, `${growth} bytes more than before`);
      }),

    "sockets that nobody holds any more are closed when they are collected": async (address) => {
      const gc = collector();
      const before = openFiles();
      openAndForget(address, 50);
      assert(openFiles() >= before + 100);
      for (let round = 0; round < 50 && openFiles() > before; round += 1) {
        gc();
        await sleep(5);
      }
      assert.equal(openFiles(), before);
      assert((address.liveSockets() ?? 0) < 10, `${address.liveSockets()} sockets are held in memory`);
    },

    "streams in use are not collected": (address) =>
      withSide(address, async (vsock) => {
        const gc = collector();
        const port = freePort();
        // Nobody here keeps the server's end.
        await vsock.listen(port, (stream) => void stream.on("data", (chunk) => stream.write(chunk)));
        const client = await vsock.connect(port, CONNECT);
        for (let round = 0; round < 20; round += 1) {
          gc();
          client.write(`${round}.`);
          const [chunk] = (await once(client, "data")) as [Buffer];
          assert.equal(String(chunk), `${round}.`);
        }
      }),

    "a worker that is ended with everything open leaves nothing behind": async (address) => {
      // A first one, so that what workers open once is open already.
      await oneWorker(entry, address, 0);
      const before = openFiles();
      for (let round = 1; round <= 5; round += 1) await oneWorker(entry, address, round);
      await until(() => openFiles() <= before);
      const live = address.liveSockets() ?? 0;
      assert(live < 10, `${live} sockets are held in memory`);
    },

    "what a callback throws is an uncaught exception, not a crash or a silence": (address) =>
      withSide(address, async (vsock) => {
        const { promise, resolve } = Promise.withResolvers<Error>();
        process.once("uncaughtException", resolve);
        const port = freePort();
        await vsock.listen(port, () => {
          throw new Error("thrown while accepting");
        });
        await vsock.connect(port, CONNECT);
        assert.equal((await promise).message, "thrown while accepting");
        const [ends] = await connected(vsock);
        ends?.client.end("and on it goes");
        assert.equal(String(await buffer(ends?.server as Duplex)), "and on it goes");
      }),
  };
}

async function oneWorker(entry: string, address: Address, round: number): Promise<void> {
  const worker = new Worker(new URL(entry), {
    workerData: { address: address.argument, addon: address.addonFile, firstPort: 40_000 + round * 100 },
  });
  await once(worker, "message");
  await worker.terminate();
}

/** A listener, streams in the middle of reading and writing, sockets nobody watches, and no end to any of it. */
export async function runInWorker(address: Address, firstPort: number): Promise<void> {
  countPortsFrom(firstPort);
  const vsock = address.side();
  for (const { client, server } of await connected(vsock, 3)) {
    server.resume();
    client.write(Buffer.alloc(4 * 1024 * 1024));
  }
  for (const { client } of await connected(vsock)) client.write(Buffer.alloc(4 * 1024 * 1024));
  const port = freePort();
  await vsock.listen(port, () => {});
  await vsock.connect(port, CONNECT);
  openAndForget(address, 3);
  parentPort?.postMessage("open");
  await new Promise(() => setInterval(() => {}, 1_000));
}

function openAndForget(address: Address, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const port = freePort();
    const listener = address.listenRaw(port) as SocketHandle | number;
    const client = address.connectRaw(port) as SocketHandle | number;
    assert(typeof listener === "object" && typeof client === "object", `${String(listener)} ${String(client)}`);
  }
}

function collector(): () => void {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("start node with --expose-gc");
  return gc;
}

/** What cannot be collected. Not the process's size: that grows with what the allocator keeps for later. */
async function heldMemory(): Promise<number> {
  const gc = collector();
  for (let round = 0; round < 5; round += 1) {
    gc();
    await sleep(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
