import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { ParentProxyOptions } from "../../parent-proxy/index.ts";
import {
  decodeCbor,
  EGRESS_PORT,
  type EgressAnswer,
  type EgressCall,
  egressAnswer,
  encodeCbor,
  encodeFrame,
} from "../../protocol/index.ts";
import { readFirstFrame } from "../../vsock/index.ts";
import { type Parent, startParent, startTcp, until } from "./fixture.ts";

type Egress = ParentProxyOptions["egress"];

const frame = (call: EgressCall) => encodeFrame(encodeCbor(call));

async function open(parent: Parent, bytes: Uint8Array): Promise<{ stream: Duplex; answer: EgressAnswer }> {
  const stream = await parent.guest.connect(EGRESS_PORT, { timeoutMs: 5_000 });
  stream.write(bytes);
  return { stream, answer: decodeCbor(egressAnswer, await readFirstFrame(stream, { timeoutMs: 15_000 })) };
}

/** One allowed name that leads to a server on loopback. */
function toLoopback(port: number): Egress {
  return { allow: ["kms.example:443"], connectTo: new Map([["kms.example:443", `127.0.0.1:${port}`]]) };
}

const KMS = { host: "kms.example", port: 443 };

test("relays both ways, with the bytes that arrive together with the call", async () => {
  const port = await startTcp((socket) =>
    socket.on("data", (data) => socket.write(data)).on("end", () => socket.end()),
  );
  const parent = await startParent({ egress: toLoopback(port) });
  // 0x16030100: a TLS record's head, which read as a frame's would be 369 MB.
  const early = Uint8Array.of(0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5);
  const { stream, answer } = await open(parent, Buffer.concat([frame(KMS), early]));
  expect(answer).toEqual({ kind: "connected" });
  stream.end(Uint8Array.of(6));
  expect(await buffer(stream)).toEqual(Buffer.from([...early, 6]));
});

test("a server that speaks first is heard", async () => {
  const port = await startTcp((socket) => socket.end("\0\0\0\u0001hello"));
  const parent = await startParent({ egress: toLoopback(port) });
  const { stream } = await open(parent, frame(KMS));
  expect(String(await buffer(stream))).toBe("\0\0\0\u0001hello");
  stream.end();
});

test("an end in one direction leaves the other: the enclave's first", async () => {
  const port = await startTcp((socket) => {
    void buffer(socket).then((all) => socket.end(`got ${all.length}`));
  });
  const parent = await startParent({ egress: toLoopback(port) });
  const { stream } = await open(parent, frame(KMS));
  stream.end("request");
  expect(String(await buffer(stream))).toBe("got 7");
});

test("an end that arrives with the call, with bytes or without, is passed on", async () => {
  const port = await startTcp((socket) => {
    void buffer(socket).then((all) => socket.end(`got ${all.length}`));
  });
  const parent = await startParent({ egress: toLoopback(port) });
  for (const length of [0, 1, 100_000]) {
    const stream = await parent.guest.connect(EGRESS_PORT, { timeoutMs: 5_000 });
    stream.end(Buffer.concat([frame(KMS), Buffer.alloc(length)]));
    await readFirstFrame(stream, { timeoutMs: 15_000 });
    expect(String(await buffer(stream))).toBe(`got ${length}`);
  }
});

test("an end in one direction leaves the other: the server's first", async () => {
  const received = Promise.withResolvers<Buffer>();
  const port = await startTcp((socket) => {
    socket.end("banner");
    buffer(socket).then(received.resolve, received.reject);
  });
  const parent = await startParent({ egress: toLoopback(port) });
  const { stream } = await open(parent, frame(KMS));
  expect(String(await buffer(stream))).toBe("banner");
  stream.end("said after the server's end");
  expect(String(await received.promise)).toBe("said after the server's end");
});

test("moves megabytes both ways at once, unchanged, and counts them", async () => {
  const bytes = randomBytes(24 * 1024 * 1024);
  const port = await startTcp((socket) => socket.pipe(socket));
  const parent = await startParent({ egress: toLoopback(port) });
  const { stream } = await open(parent, frame(KMS));
  stream.end(bytes);
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk as Buffer);
  expect(hash.digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));

  const metrics = async () => (await fetch(`${parent.url}/metrics`)).text();
  await until(async () => (await metrics()).includes('cloister_egress_streams{destination="kms.example:443"} 0'));
  const text = await metrics();
  expect(text).toContain(`egress_bytes_total{destination="kms.example:443",direction="out"} ${bytes.length}`);
  expect(text).toContain(`egress_bytes_total{destination="kms.example:443",direction="in"} ${bytes.length}`);
  expect(text).toContain('egress_answers_total{destination="kms.example:443",answer="connected"} 1');
});

test("does not read on from a server while the enclave does not read", async () => {
  const CHUNK = 256 * 1024;
  let sent = 0;
  const port = await startTcp((socket) => {
    const send = () => {
      while (sent < 64 * 1024 * 1024) {
        sent += CHUNK;
        if (!socket.write(Buffer.alloc(CHUNK))) return void socket.once("drain", send);
      }
      socket.end();
    };
    send();
  });
  const parent = await startParent({ egress: toLoopback(port) });
  const { stream } = await open(parent, frame(KMS));
  // Nothing is read here. The sender stops when every buffer between is full: it stands still over many turns.
  let before = -1;
  while (sent !== before) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(sent).toBeLessThan(32 * 1024 * 1024);
  let received = 0;
  for await (const chunk of stream) received += (chunk as Buffer).length;
  expect(received).toBe(64 * 1024 * 1024);
  stream.end();
});

test.each<[string, EgressCall, EgressAnswer]>([
  ["another host", { host: "evil.example", port: 443 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  ["another port", { host: "kms.example", port: 80 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  ["a host with more before it", { host: "a.kms.example", port: 443 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  ["a host with more after it", { host: "kms.example.evil", port: 443 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  [
    "the address that an allowed name has",
    { host: "127.0.0.1", port: 443 },
    { kind: "refused", reason: "NOT_ALLOWED" },
  ],
  [
    "a name in connectTo that is not allowed",
    { host: "only-mapped", port: 1 },
    { kind: "refused", reason: "NOT_ALLOWED" },
  ],
  ["a name that leads to loopback", { host: "localhost", port: 443 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  ["an allowed loopback address", { host: "127.0.0.1", port: 8080 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  ["instance metadata", { host: "169.254.169.254", port: 80 }, { kind: "refused", reason: "NOT_ALLOWED" }],
  [
    "a number that resolvers take for 127.0.0.1",
    { host: "2130706433", port: 80 },
    { kind: "refused", reason: "NOT_ALLOWED" },
  ],
  ["a name that does not exist", { host: "nothing.invalid", port: 443 }, { kind: "refused", reason: "NAME_NOT_FOUND" }],
])("refuses %s", async (_name, call, expected) => {
  const connections: unknown[] = [];
  const port = await startTcp((socket) => connections.push(socket));
  const parent = await startParent({
    egress: {
      allow: [
        "kms.example:443",
        "localhost:443",
        "127.0.0.1:8080",
        "169.254.169.254:80",
        "2130706433:80",
        "nothing.invalid:443",
      ],
      connectTo: new Map([
        ["kms.example:443", `127.0.0.1:${port}`],
        ["only-mapped:1", `127.0.0.1:${port}`],
      ]),
    },
  });
  const { stream, answer } = await open(parent, frame(call));
  expect(answer).toEqual(expected);
  expect(await buffer(stream)).toHaveLength(0);
  expect(connections).toEqual([]);
  expect(parent.lines).toMatchObject([{ msg: "egress refused", destination: `${call.host}:${call.port}` }]);
});

test("says unreachable when nobody listens there", async () => {
  const port = await startTcp(() => {});
  const parent = await startParent({
    egress: { allow: ["a.example:1"], connectTo: new Map([["a.example:1", `127.0.0.2:${port}`]]) },
  });
  expect((await open(parent, frame({ host: "a.example", port: 1 }))).answer).toEqual({
    kind: "refused",
    reason: "UNREACHABLE",
  });
});

test("says busy over the cap, and has room again when a stream is over", async () => {
  const port = await startTcp((socket) => socket.resume().on("end", () => socket.end()));
  const parent = await startParent({ egress: toLoopback(port), limits: { maxEgressStreams: 2 } });
  const first = await open(parent, frame(KMS));
  await open(parent, frame(KMS));
  expect((await open(parent, frame(KMS))).answer).toEqual({ kind: "refused", reason: "BUSY" });
  first.stream.end();
  await buffer(first.stream);
  await until(async () => (await open(parent, frame(KMS))).answer.kind === "connected");
});

test("closes both sides of a stream on which nothing moves", async () => {
  const ended = Promise.withResolvers<void>();
  const port = await startTcp((socket) => socket.resume().once("end", ended.resolve));
  const parent = await startParent({ egress: toLoopback(port), limits: { egressIdleTimeoutMs: 50 } });
  const { stream } = await open(parent, frame(KMS));
  expect(await buffer(stream)).toHaveLength(0);
  await ended.promise;
});

test("a server that breaks off takes the enclave's stream along, and the other way round", async () => {
  const sockets: Socket[] = [];
  const port = await startTcp((socket) => sockets.push(socket.resume().on("end", () => socket.end())));
  const parent = await startParent({ egress: toLoopback(port) });
  const first = await open(parent, frame(KMS));
  await until(() => sockets.length === 1);
  sockets[0]?.resetAndDestroy();
  expect(await buffer(first.stream)).toHaveLength(0);
  const second = await open(parent, frame(KMS));
  second.stream.destroy();
  await until(() => sockets[1]?.closed === true);
});

test.each([
  ["no CBOR", encodeFrame(Uint8Array.of(0xff))],
  ["other fields", encodeFrame(encodeCbor({ host: "kms.example", port: 443, via: "me" }))],
  ["upper case", encodeFrame(encodeCbor({ host: "KMS.example", port: 443 }))],
  ["a frame of 4 GiB", Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
  ["a frame of nothing", new Uint8Array(4)],
])("closes a stream whose first frame is %s", async (_name, bytes) => {
  const parent = await startParent({ egress: toLoopback(1) });
  const stream = await parent.guest.connect(EGRESS_PORT, { timeoutMs: 5_000 });
  stream.write(bytes);
  expect(await buffer(stream).catch(() => Buffer.alloc(0))).toHaveLength(0);
});
