import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode, encode } from "cborg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectNsm, createNsmPki, createSimulatedNsm, serveNsm } from "../../simulator/nsm/index.ts";

let folder: string;
let socketPath: string;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "nsm-"));
  socketPath = join(folder, "nsm.sock");
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await rm(folder, { recursive: true });
});

async function serve(handle?: (request: Uint8Array) => Promise<Uint8Array>) {
  const pki = createNsmPki({ nowMs: () => 1_800_000_000_000 });
  const moduleId = "i-0123456789abcdef0-enc0123456789abcdef";
  const nsm = createSimulatedNsm({ pki, pcrs: new Map(), moduleId, nowMs: () => 1_800_000_000_000 });
  const server = await serveNsm(handle === undefined ? nsm : { handle }, socketPath);
  closing.push(() => server.close());
  return server;
}

async function connect() {
  const connection = await connectNsm(socketPath);
  closing.push(() => connection.close());
  return connection;
}

test("many requests on one connection are answered in order", async () => {
  await serve();
  const connection = await connect();
  const indices = Array.from({ length: 16 }, (_, at) => 16 + at);
  const extended = await Promise.all(
    indices.map((index) => connection.process(encode({ ExtendPCR: { index, data: Uint8Array.of(index) } }))),
  );
  const described = await Promise.all(indices.map((index) => connection.process(encode({ DescribePCR: { index } }))));
  const dataOf = (bytes: Uint8Array, kind: string) =>
    (decode(bytes) as Record<string, { data: Uint8Array }>)[kind]?.data;
  expect(described.map((bytes) => dataOf(bytes, "DescribePCR"))).toEqual(
    extended.map((bytes) => dataOf(bytes, "ExtendPCR")),
  );
});

test("order holds where answers take different times", async () => {
  const gate = Promise.withResolvers<void>();
  await serve(async (request) => {
    if (request[0] === 1) await gate.promise;
    else gate.resolve();
    return request;
  });
  const [first, second] = [await connect(), await connect()];
  const slow = first.process(Uint8Array.of(1));
  const after = first.process(Uint8Array.of(3));
  await second.process(Uint8Array.of(2));
  expect(await Promise.all([slow, after])).toEqual([Uint8Array.of(1), Uint8Array.of(3)]);
});

test("a request over the device's limit is answered, not cut off", async () => {
  await serve();
  const connection = await connect();
  expect(decode(await connection.process(new Uint8Array(0x1001)))).toEqual({ Error: "InputTooLarge" });
  expect(decode(await connection.process(encode({ LockPCR: { index: 99 } })))).toEqual({ Error: "InvalidIndex" });
});

test("closing the server fails what waits, and what comes after", async () => {
  const server = await serve(() => new Promise<Uint8Array>(() => {}));
  const connection = await connect();
  const waiting = connection.process(Uint8Array.of(1));
  const lost = expect(waiting).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await server.close();
  await lost;
  await expect(connection.process(Uint8Array.of(1))).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await expect(connectNsm(socketPath)).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("a response that nobody asked for ends the connection", async () => {
  const server: Server = createServer((socket) => socket.end(Uint8Array.of(0, 0, 0, 1, 7)));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  closing.push(() => server.close());
  const connection = await connect();
  await expect(
    connection.process(Uint8Array.of(1)).then(() => connection.process(Uint8Array.of(1))),
  ).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("a file that is no socket is left alone", async () => {
  await writeFile(socketPath, "somebody's notes");
  await expect(serve()).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(await readFile(socketPath, "utf8")).toBe("somebody's notes");
});

test("a dead socket's file is replaced, a living one is not", async () => {
  const killed = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
  spawnSync(process.execPath, ["-e", killed, socketPath]);
  expect(existsSync(socketPath)).toBe(true);
  await serve();
  await connect();
  await expect(serve()).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("a path that no socket can have is refused", async () => {
  const long = join(folder, "x".repeat(108));
  await expect(connectNsm(long)).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
  const nsm = { handle: async (request: Uint8Array) => request };
  await expect(serveNsm(nsm, long)).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
});
