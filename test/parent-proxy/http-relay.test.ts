import { request } from "node:http";
import { createConnection } from "node:net";
import { expect, test } from "vitest";
import {
  ERROR_CODES,
  MAX_BODY_BYTES,
  MAX_SEALED_BYTES,
  MAX_STAMP_BYTES,
  MAX_STAMPS,
  MAX_WEBAUTHN_STAMP_BYTES,
  REQUEST_PORT,
} from "../../protocol/index.ts";
import { type Handle, json, startFakeEnclave, startParent, until } from "./fixture.ts";

const echo: Handle = async (call) => ({
  status: 200,
  body: call.kind === "operation" ? call.body : json({ kind: call.kind }),
  signature: new Uint8Array(64).fill(7),
});

const nothing: Handle = () => new Promise(() => {});

async function errorOf(response: Response) {
  const body = (await response.json()) as { requestId: null; error: { code: keyof typeof ERROR_CODES } };
  expect(body.requestId).toBeNull();
  expect(response.status).toBe(ERROR_CODES[body.error.code].status);
  expect(response.headers.get("x-enclave-signature")).toBeNull();
  return body.error.code;
}

/** `fetch` joins repeated headers by itself; this sends them apart. */
async function postRaw(url: string, headers: readonly (readonly [string, string])[], body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const { host } = new URL(url);
    const raw = [["host", host], ["content-length", String(body.length)], ...headers].flat();
    const sent = request(url, { method: "POST", headers: raw }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

test("relays the exact bytes of a body, whatever they are and whatever their type is said to be", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  const body = Uint8Array.from({ length: 256 }, (_, at) => at);
  for (const type of ["application/json", "text/plain; charset=utf-16", "not a;; type", "application/octet-stream"]) {
    const response = await fetch(`${url}/v1/sign_message`, { method: "POST", body, headers: { "content-type": type } });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-enclave-signature")).toBe(Buffer.alloc(64, 7).toString("base64url"));
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(body);
  }
  expect(calls.map((call) => call.kind === "operation" && [...call.body])).toEqual(Array(4).fill([...body]));
});

test("relays a body without a type, and no body as no bytes", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  await postRaw(`${url}/v1/create_wallet`, [], "{ }");
  await postRaw(`${url}/v1/create_wallet`, [], "");
  expect(calls).toMatchObject([{ body: new TextEncoder().encode("{ }") }, { body: new Uint8Array(0) }]);
});

test("gives back the enclave's own refusals with their status and signature", async () => {
  const { url, guest } = await startParent();
  const refusal = { requestId: "x", error: { code: "POLICY_DENIED", message: "no" } };
  await startFakeEnclave(guest, async () => ({ status: 403, body: json(refusal), signature: new Uint8Array(64) }));
  const response = await fetch(`${url}/v1/sign_transaction`, { method: "POST", body: "{}" });
  expect(response.status).toBe(403);
  expect(response.headers.get("x-enclave-signature")).not.toBeNull();
  expect(await response.json()).toEqual(refusal);
});

test("hands every stamp on, apart or joined, and none as none", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  const post = (headers: readonly (readonly [string, string])[]) => postRaw(`${url}/v1/create_app`, headers, "{}");
  await post([]);
  await post([
    ["x-stamp", "one"],
    ["X-Stamp", "two"],
  ]);
  await post([
    ["x-stamp", "one"],
    ["x-stamp", "two"],
    ["x-stamp", "three"],
  ]);
  await post([["x-stamp", "one, two,three"]]);
  await post([["x-stamp", Array(MAX_STAMPS).fill("s".repeat(MAX_STAMP_BYTES)).join(", ")]]);
  const stamps = calls.map((call) => call.kind === "operation" && call.stamps);
  expect(stamps.slice(0, 4)).toEqual([[], ["one", "two"], ["one", "two", "three"], ["one", "two", "three"]]);
  expect(stamps[4]).toHaveLength(MAX_STAMPS);
});

test("relays a passkey's stamp, which is JSON, after the others and as it is", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  const ofPasskey = '{"authenticatorData":"AA","clientDataJson":"AA","credentialId":"AA","signature":"AA"}';
  const post = (headers: [string, string][]) => fetch(`${url}/v1/create_app`, { method: "POST", body: "{}", headers });
  await post([["x-stamp-webauthn", ofPasskey]]);
  await post([
    ["x-stamp-webauthn", ofPasskey],
    ["x-stamp", "one, two"],
  ]);
  expect(calls.map((call) => call.kind === "operation" && call.stamps)).toEqual([
    [ofPasskey],
    ["one", "two", ofPasskey],
  ]);
  const refused = await post([["x-stamp-webauthn", `{${"x".repeat(MAX_WEBAUTHN_STAMP_BYTES)}`]]);
  expect(await refused.json()).toMatchObject({ error: { code: "PARENT_INVALID_REQUEST" } });
  const full: [string, string][] = [["x-stamp", Array(MAX_STAMPS).fill("s").join(",")]];
  const tooMany = await post([...full, ["x-stamp-webauthn", ofPasskey]]);
  expect(await tooMany.json()).toMatchObject({ error: { code: "PARENT_INVALID_REQUEST" } });
  expect(calls.length).toBe(2);
});

test("refuses stamps that would break the wire's limits, before they reach the enclave", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  for (const stamp of [
    "s".repeat(MAX_STAMP_BYTES + 1),
    Array(MAX_STAMPS + 1)
      .fill("s")
      .join(", "),
  ]) {
    const response = await fetch(`${url}/v1/create_app`, { method: "POST", body: "{}", headers: { "x-stamp": stamp } });
    expect(await errorOf(response)).toBe("PARENT_INVALID_REQUEST");
  }
  expect(calls).toEqual([]);
});

test("takes a body at the limit and refuses one over it", async () => {
  const { url, guest } = await startParent();
  await startFakeEnclave(guest, echo);
  const post = (bytes: number) =>
    fetch(`${url}/v1/sign_message`, { method: "POST", body: new Uint8Array(bytes).fill(0x20) });
  const atLimit = await post(MAX_BODY_BYTES);
  expect((await atLimit.arrayBuffer()).byteLength).toBe(MAX_BODY_BYTES);
  expect(await errorOf(await post(MAX_BODY_BYTES + 1))).toBe("PARENT_BODY_TOO_LARGE");
});

test("gives attestation documents as they are, and their refusals as JSON", async () => {
  const { url, guest } = await startParent();
  const document = Uint8Array.of(0x84, 0x44, 0xff);
  const { calls } = await startFakeEnclave(guest, async (call) =>
    call.kind === "attestation" && call.nonce.length > 16
      ? { status: 200, body: document, signature: null }
      : { status: 503, body: json({ requestId: null, error: { code: "NOT_READY", message: "" } }), signature: null },
  );
  const given = await fetch(`${url}/v1/attestation?nonce=${"Ab".repeat(512)}`);
  expect(given.headers.get("content-type")).toBe("application/cose");
  expect(given.headers.get("x-enclave-signature")).toBeNull();
  expect(new Uint8Array(await given.arrayBuffer())).toEqual(document);
  const refused = await fetch(`${url}/v1/attestation?nonce=${"00".repeat(16)}`);
  expect(refused.status).toBe(503);
  expect(refused.headers.get("content-type")).toBe("application/json");
  expect(calls).toMatchObject([{ nonce: new Uint8Array(512).fill(0xab) }, { nonce: new Uint8Array(16) }]);
});

test.each([
  ["no nonce", ""],
  ["15 bytes", `?nonce=${"00".repeat(15)}`],
  ["513 bytes", `?nonce=${"00".repeat(513)}`],
  ["half a byte", `?nonce=${"00".repeat(16)}0`],
  ["no hex", `?nonce=${"zz".repeat(16)}`],
  ["two nonces", `?nonce=${"00".repeat(16)}&nonce=${"11".repeat(16)}`],
])("refuses an attestation with %s", async (_name, query) => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  expect(await errorOf(await fetch(`${url}/v1/attestation${query}`))).toBe("PARENT_INVALID_REQUEST");
  expect(calls).toEqual([]);
});

test("knows no other path or method", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  const unknown: [string, string][] = [
    ["GET", "/"],
    ["GET", "/v1/sign_message"],
    ["PUT", "/v1/sign_message"],
    ["POST", "/v1/"],
    ["POST", "/v1/Sign_Message"],
    ["POST", "/v1/sign_message/more"],
    ["POST", `/v1/${"a".repeat(65)}`],
    ["POST", "/v1/%00"],
    ["POST", "/v1/%ff"],
  ];
  for (const [method, path] of unknown) {
    const response = await fetch(`${url}${path}`, { method, ...(method === "GET" ? {} : { body: "{}" }) });
    expect([path, await errorOf(response)]).toEqual([path, "PARENT_NOT_FOUND"]);
  }
  expect(calls).toEqual([]);
});

test("says that the enclave did not answer in time", async () => {
  const { url, guest } = await startParent({ limits: { requestTimeoutMs: 50 } });
  await startFakeEnclave(guest, nothing);
  expect(await errorOf(await fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" }))).toBe("PARENT_TIMEOUT");
});

test("says that there is no enclave, and finds it when it comes", async () => {
  const { url, guest } = await startParent();
  const post = () => fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" });
  expect(await errorOf(await post())).toBe("PARENT_ENCLAVE_UNREACHABLE");
  await startFakeEnclave(guest, echo);
  expect((await post()).status).toBe(200);
});

test("says that the enclave was lost in the middle of a call", async () => {
  const { url, guest } = await startParent();
  await guest.listen(REQUEST_PORT, (stream) => stream.once("data", () => stream.destroy()));
  const response = await fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" });
  expect(await errorOf(response)).toBe("PARENT_ENCLAVE_UNREACHABLE");
});

test("a fault of its own is an unsigned 500 without details, and is logged", async () => {
  const broken = { connect: () => Promise.reject(new Error("a bug")), listen: async () => ({}) as never };
  const { url, lines } = await startParent({ vsock: { ...broken, close: async () => {} } });
  const response = await fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" });
  expect(await response.clone().text()).not.toContain("a bug");
  expect(await errorOf(response)).toBe("PARENT_INTERNAL");
  expect(JSON.stringify(lines)).toContain("a bug");
});

test("lets pages of any origin call and read the signature", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, echo);
  const preflight = await fetch(`${url}/v1/sign_message`, {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,x-stamp",
    },
  });
  expect(preflight.status).toBe(204);
  expect(Object.fromEntries(preflight.headers)).toMatchObject({
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "content-type, x-stamp, x-stamp-webauthn, x-enclave-boot",
  });
  expect(calls).toEqual([]);
  // Errors too: a page must be able to read why.
  for (const path of ["/v1/sign_message", "/v1/NO"]) {
    const response = await fetch(`${url}${path}`, { method: "POST", body: "{}" });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("access-control-expose-headers")).toBe(
      "x-enclave-signature, x-enclave-boot, retry-after",
    );
    expect(response.headers.get("access-control-allow-credentials")).toBeNull();
  }
});

test.each([
  ["no HTTP", "hello\r\n\r\n", "not a proper HTTP request"],
  ["headers over the limit", `GET / HTTP/1.1\r\nx: ${"a".repeat(70_000)}\r\n\r\n`, "the headers are too large"],
])("answers %s with JSON and closes", async (_name, bytes, message) => {
  const { proxy } = await startParent();
  const answer = await sendAndWait(proxy.httpPort, bytes);
  const [head, body = ""] = answer.split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 400 /);
  expect(JSON.parse(body)).toEqual({ requestId: null, error: { code: "PARENT_INVALID_REQUEST", message } });
});

/** Sends bytes and nothing more, and reads until the other side closes. */
async function sendAndWait(port: number, bytes: string): Promise<string> {
  const socket = createConnection(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(bytes);
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

test.each([
  ["headers", "POST /v1/sign_message HTTP/1.1\r\nhost: a\r\nx-st"],
  ["body", "POST /v1/sign_message HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"],
])("does not wait for ever for the rest of the %s", async (_name, bytes) => {
  const { proxy } = await startParent({ limits: { receiveTimeoutMs: 100 } });
  const answer = await sendAndWait(proxy.httpPort, bytes);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).toContain("the request did not arrive in time");
});

test("takes no more connections than it may", async () => {
  const { proxy, url } = await startParent({ limits: { maxConnections: 1 } });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  // The first one is kept alive by the client.
  expect(await sendAndWait(proxy.httpPort, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")).toBe("");
});

test("relays a sealed request as bytes under its own name, and its answer as bytes", async () => {
  const { url, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, async (call) => ({
    status: 200,
    body: call.kind === "sealed" ? call.body.toReversed() : json({}),
    signature: null,
  }));
  // More than a body in the open may have: padded to a power of two.
  const body = new Uint8Array(MAX_SEALED_BYTES).map((_, at) => at % 251);
  const headers = { "content-type": "application/octet-stream", "x-stamp": "ignored" };
  const response = await fetch(`${url}/v1/sealed`, { method: "POST", body, headers });
  expect(response.headers.get("content-type")).toBe("application/octet-stream");
  expect(response.headers.get("x-enclave-signature")).toBeNull();
  expect(Buffer.compare(new Uint8Array(await response.arrayBuffer()), body.toReversed())).toBe(0);
  expect(calls.map(({ kind }) => kind)).toEqual(["sealed"]);
  const counted = async () => (await (await fetch(`${url}/metrics`)).text()).match(/^cloister_requests_total.*$/gm);
  await until(async () => (await counted())?.length === 1);
  expect(await counted()).toEqual(['cloister_requests_total{operation="sealed",status="200"} 1']);
  const over = await fetch(`${url}/v1/sealed`, { method: "POST", body: new Uint8Array(MAX_SEALED_BYTES + 1) });
  expect(await errorOf(over)).toBe("PARENT_BODY_TOO_LARGE");
});

test("counts error answers by code: its own, the enclave's in the open, and no more names than there are codes", async () => {
  const { url, guest } = await startParent();
  const bodies = [
    json({ requestId: null, error: { code: "POLICY_DENIED", message: "no" } }),
    json({ requestId: null, error: { code: "A_NAME_OF_ANYBODYS", message: "no" } }),
    Buffer.from("no JSON"),
  ];
  await startFakeEnclave(guest, async (call) =>
    call.kind === "sealed"
      ? { status: 200, body: Buffer.from("unreadable"), signature: null }
      : { status: 403, body: bodies.shift() ?? json({}), signature: null },
  );
  for (let n = 0; n < 3; n += 1) await fetch(`${url}/v1/list_wallets`, { method: "POST", body: "{}" });
  await fetch(`${url}/v1/sealed`, { method: "POST", body: "sealed" });
  await fetch(`${url}/nowhere`);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics.match(/^cloister_error_answers_total.*$/gm)?.toSorted()).toEqual([
    'cloister_error_answers_total{code="PARENT_NOT_FOUND"} 1',
    'cloister_error_answers_total{code="POLICY_DENIED"} 1',
    'cloister_error_answers_total{code="other"} 2',
  ]);
});
