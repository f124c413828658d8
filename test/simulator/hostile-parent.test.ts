import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { type ParentProxyOptions, startParentProxy } from "../../parent-proxy/index.ts";
import {
  decodeCbor,
  EGRESS_PORT,
  egressAnswer,
  encodeCbor,
  encodeFrame,
  LOG_PORT,
  RECORDS_PORT,
  REQUEST_PORT,
} from "../../protocol/index.ts";
import { type Direction, startHostileParent } from "../../simulator/hostile-parent.ts";
import { guestVsock, hostVsock, readFirstFrame } from "../../vsock/index.ts";
import {
  credentialsClient,
  json,
  recordedLog,
  recordsClient,
  startFakeEnclave,
  startTcp,
  temporaryFolder,
  until,
} from "../parent-proxy/fixture.ts";

async function start(options: Partial<ParentProxyOptions> = {}) {
  const folder = await temporaryFolder();
  const { log, lines } = recordedLog();
  const honest = await startParentProxy({
    vsock: hostVsock(join(folder, "h")),
    http: { host: "127.0.0.1", port: 0 },
    records: { kind: "sqlite", file: join(folder, "records.db") },
    egress: { allow: [], connectTo: new Map() },
    credentials: async () => ({ accessKeyId: "A", secretAccessKey: "B", sessionToken: null, expiresAtMs: null }),
    log,
    ...options,
  });
  onTestFinished(() => honest.close());
  const hostile = await startHostileParent({ guestPath: join(folder, "g"), hostPath: join(folder, "h") });
  onTestFinished(() => hostile.close());
  const guest = guestVsock(join(folder, "g"));
  onTestFinished(() => guest.close());
  return { hostile, guest, lines, url: `http://127.0.0.1:${honest.httpPort}` };
}

const post = (url: string, body: string) => fetch(`${url}/v1/sign_message`, { method: "POST", body });
const create = (name: string) => ({
  kind: "write" as const,
  changes: [{ name, expectedVersion: 0, version: 1, value: Uint8Array.of(1) }],
});

test("without hooks it is invisible, and has seen everything", async () => {
  const { hostile, guest, lines, url } = await start();
  await startFakeEnclave(guest, async (call) => ({
    status: 200,
    body: call.kind === "operation" ? call.body : json({ phase: "ready", failure: null }),
    signature: null,
  }));
  expect(await (await post(url, "hello")).text()).toBe("hello");
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await recordsClient(guest)(create("a"))).toMatchObject({ kind: "written" });
  expect(await credentialsClient(guest)({ kind: "get" })).toMatchObject({ accessKeyId: "A" });
  const log = await guest.connect(LOG_PORT, { timeoutMs: 5_000 });
  log.write(encodeFrame(encodeCbor({ line: '{"event":"x"}' })));
  await until(() => lines.length === 1);
  expect(hostile.record.map((seen) => [seen.port, seen.direction])).toEqual([
    [5000, "to-enclave"],
    [5000, "to-parent"],
    [5000, "to-enclave"],
    [5000, "to-parent"],
    [5001, "to-parent"],
    [5001, "to-enclave"],
    [5003, "to-parent"],
    [5003, "to-enclave"],
    [5004, "to-parent"],
  ]);
});

test("changes, repeats and withholds messages in either direction, while it runs", async () => {
  const { hostile, guest, url } = await start({ limits: { requestTimeoutMs: 200 } });
  const { calls } = await startFakeEnclave(guest, async () => ({ status: 200, body: json("true"), signature: null }));

  hostile.hooks.message = (port, direction, message) =>
    port === REQUEST_PORT && direction === "to-parent" ? { ...message, body: json("false") } : message;
  expect(await (await post(url, "{}")).text()).toBe('"false"');

  hostile.hooks.message = (_port, direction, message) => (direction === "to-enclave" ? [message, message] : message);
  expect((await post(url, "twice")).status).toBe(200);
  await until(() => calls.length === 3);
  expect(calls.slice(1)).toMatchObject([
    { body: calls[1]?.kind === "operation" && calls[1].body },
    { id: calls[1]?.id },
  ]);

  hostile.hooks.message = async () => "drop";
  expect((await post(url, "lost")).status).toBe(504);
  expect(calls).toHaveLength(3);

  hostile.hooks.message = undefined;
  expect((await post(url, "{}")).status).toBe(200);
});

test("may send what no schema allows", async () => {
  const { hostile, guest } = await start();
  hostile.hooks.message = (_port, direction, message) =>
    direction === "to-enclave" ? { ...message, surprise: true } : message;
  await expect(recordsClient(guest)(create("a"))).rejects.toMatchObject({
    code: "CONNECTION_LOST",
    cause: { code: "MALFORMED_MESSAGE" },
  });
});

test("lies about records", async () => {
  const { hostile, guest } = await start();
  const records = recordsClient(guest);
  await records(create("a"));
  hostile.hooks.message = (port, direction, message) =>
    port === RECORDS_PORT && direction === "to-enclave" && "kind" in message && message.kind === "record"
      ? { ...message, record: null }
      : message;
  expect(await records({ kind: "get", name: "a" })).toMatchObject({ kind: "record", record: null });
});

test("cuts streams off", async () => {
  const { hostile, guest } = await start();
  hostile.hooks.stream = (port) => port !== RECORDS_PORT;
  await expect(recordsClient(guest)({ kind: "get", name: "a" })).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  expect(await credentialsClient(guest)({ kind: "get" })).toMatchObject({ kind: "credentials" });
});

test("on the egress port it sees the two frames, then raw bytes, and may change both", async () => {
  const port = await startTcp((socket) => socket.pipe(socket));
  const egress = {
    allow: ["a.example:443"],
    connectTo: new Map([["a.example:443", `127.0.0.1:${port}`]]),
  };
  const { hostile, guest } = await start({ egress });
  const open = async (bytes: Uint8Array) => {
    const stream = await guest.connect(EGRESS_PORT, { timeoutMs: 5_000 });
    stream.end(Buffer.concat([encodeFrame(encodeCbor({ host: "a.example", port: 443 })), bytes]));
    const answer = decodeCbor(egressAnswer, await readFirstFrame(stream, { timeoutMs: 5_000 }));
    return { answer, bytes: await buffer(stream) };
  };
  const large = randomBytes(8 * 1024 * 1024);
  const back = await open(large);
  expect(back.answer).toEqual({ kind: "connected" });
  const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  expect(sha256(back.bytes)).toBe(sha256(large));

  const directions: Direction[] = [];
  hostile.hooks.bytes = (direction, bytes) => {
    directions.push(direction);
    return direction === "to-enclave" ? Buffer.from(String(bytes).toUpperCase()) : bytes;
  };
  expect(String((await open(Buffer.from("quiet"))).bytes)).toBe("QUIET");
  expect(directions).toEqual(["to-parent", "to-enclave"]);
  hostile.hooks.bytes = () => "drop";
  expect((await open(Buffer.from("quiet"))).bytes).toHaveLength(0);
  hostile.hooks.message = (_port, direction, message) =>
    direction === "to-parent" ? { host: "elsewhere.example", port: 443 } : message;
  expect((await open(new Uint8Array(0))).answer).toEqual({ kind: "refused", reason: "NOT_ALLOWED" });
});

test("closes without a trace, and a start that fails does too", async () => {
  const folder = await temporaryFolder();
  const paths = { guestPath: join(folder, "g"), hostPath: join(folder, "h") };
  const first = await startHostileParent(paths);
  await expect(startHostileParent(paths)).rejects.toMatchObject({ code: "PORT_IN_USE" });
  await first.close();
  await (await startHostileParent(paths)).close();
});
