/** More than the parent takes: who is refused, with what, and who is cut. */
import { createConnection, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { FairShares, holderOf } from "../../parent-proxy/http/fair-shares.ts";
import { parseProxies } from "../../parent-proxy/http/trusted-proxies.ts";
import { type EnclaveAnswer, ERROR_CODES } from "../../protocol/index.ts";
import type { WithoutId } from "../../vsock/index.ts";
import { type Handle, json, startFakeEnclave, startParent, until } from "./fixture.ts";

const HTTP = { host: "127.0.0.1", port: 0 };
const status: WithoutId<EnclaveAnswer> = {
  status: 200,
  body: json({ phase: "ready", failure: null }),
  signature: null,
};

/** An enclave that answers nothing until it is told to. */
function holding() {
  const waiting: (() => void)[] = [];
  const handle: Handle = async (call) => {
    if (call.kind === "status") return status;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return { status: 200, body: json({}), signature: new Uint8Array(64) };
  };
  return { waiting, handle };
}

function poster(url: string) {
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  return (from?: string, signal: AbortSignal = abort.signal) => {
    const headers = from === undefined ? {} : { "x-forwarded-for": from };
    const response = fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}", headers, signal });
    response.catch(() => {});
    return response;
  };
}

async function codeOf(response: Response): Promise<string> {
  const { error } = (await response.json()) as { error: { code: keyof typeof ERROR_CODES } };
  expect(response.status).toBe(ERROR_CODES[error.code].status);
  return error.code;
}

function expectRetryAfter(response: Response): void {
  expect(response.headers.get("retry-after")).toMatch(/^[123]$/);
  expect(response.headers.get("access-control-expose-headers")).toContain("retry-after");
}

const metric = async (url: string, line: string) =>
  (await (await fetch(`${url}/metrics`)).text()).split("\n").find((each) => each.startsWith(line));

test("an address stops at as many requests as are free, others go on, and readyz answers", async () => {
  const { url, guest } = await startParent({
    http: { ...HTTP, trustedProxies: ["127.0.0.1"] },
    limits: { maxInFlight: 6 },
  });
  const { waiting, handle } = holding();
  await startFakeEnclave(guest, handle);
  const post = poster(url);
  const noisy = [post("192.0.2.1"), post("192.0.2.1"), post("192.0.2.1")];
  await until(() => waiting.length === 3);
  const refused = await post("192.0.2.1");
  expectRetryAfter(refused);
  expect([refused.status, await codeOf(refused)]).toEqual([429, "PARENT_OVER_SHARE"]);
  const others = [post("192.0.2.2"), post("2001:db8::1"), post("2001:db8:0:1::1")];
  await until(() => waiting.length === 6);
  const full = await post("192.0.2.9");
  expectRetryAfter(full);
  expect([full.status, await codeOf(full)]).toEqual([503, "PARENT_BUSY"]);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await metric(url, 'cloister_refusals_total{reason="over-share"}')).toMatch(/ 1$/);
  expect(await metric(url, 'cloister_refusals_total{reason="full"}')).toMatch(/ 1$/);
  for (const answer of waiting) answer();
  expect((await Promise.all([...noisy, ...others])).map((response) => response.status)).toEqual(Array(6).fill(200));
  // Every place came back.
  const again = post("192.0.2.1");
  await until(() => waiting.length === 7);
  waiting[6]?.();
  expect((await again).status).toBe(200);
});

test("X-Forwarded-For is nobody's word but a trusted proxy's", async () => {
  const { url, guest } = await startParent({ limits: { maxInFlight: 4 } });
  const { waiting, handle } = holding();
  await startFakeEnclave(guest, handle);
  const post = poster(url);
  void post("192.0.2.1");
  void post("192.0.2.2");
  await until(() => waiting.length === 2);
  expect(await codeOf(await post("192.0.2.3"))).toBe("PARENT_OVER_SHARE");
});

test("who goes away before the answer keeps the place that the enclave still works for", async () => {
  const { url, guest } = await startParent({ limits: { maxInFlight: 2, requestTimeoutMs: 10_000 } });
  const { waiting, handle } = holding();
  await startFakeEnclave(guest, handle);
  const post = poster(url);
  const abort = new AbortController();
  void post(undefined, abort.signal);
  await until(() => waiting.length === 1);
  abort.abort();
  expect(await codeOf(await post())).toBe("PARENT_OVER_SHARE");
  waiting[0]?.();
  await until(async () => {
    const response = post();
    await Promise.race([response.catch(() => {}), until(() => waiting.length > 1)]);
    return waiting.length > 1;
  });
});

test.each([
  ["BUSY", 429, true],
  ["NOT_READY", 503, true],
  ["RECORDS_UNAVAILABLE", 503, true],
  ["SECOND_FACTOR_LOCKED", 429, false],
  ["POLICY_DENIED", 403, false],
  ["RECORD_CONFLICT", 409, false],
] as const)(
  "the enclave's %s goes on with Retry-After where a moment later is worth a try",
  async (code, of, expected) => {
    const { url, guest } = await startParent();
    const body = json({ requestId: null, error: { code, message: "no" } });
    await startFakeEnclave(guest, async () => ({ status: of, body, signature: new Uint8Array(64) }));
    const response = await poster(url)();
    expect(response.status).toBe(of);
    if (expected) expectRetryAfter(response);
    else expect(response.headers.get("retry-after")).toBeNull();
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(body);
  },
);

test("a 429 or 503 that is no answer's form has none", async () => {
  const { url, guest } = await startParent();
  await startFakeEnclave(guest, async () => ({ status: 503, body: json("?"), signature: null }));
  expect((await poster(url)()).headers.get("retry-after")).toBeNull();
});

test("an enclave that cannot be reached is said with Retry-After", async () => {
  const { url } = await startParent();
  const response = await poster(url)();
  expect(response.headers.get("retry-after")).toBe("1");
  expect(await codeOf(response)).toBe("PARENT_ENCLAVE_UNREACHABLE");
});

function open(url: string): { readonly socket: Socket; readonly closed: Promise<void> } {
  const { port } = new URL(url);
  const socket = createConnection({ host: "127.0.0.1", port: Number(port) });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  // What is not read is not noticed either: the kernel's buffers fill up first.
  socket.pause();
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, closed };
}

const REQUEST = "POST /v1/sign_message HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
const MEBIBYTE = 1024 * 1024;
const large: Handle = async (call) =>
  call.kind === "status"
    ? status
    : { status: 200, body: new Uint8Array(MEBIBYTE - 200), signature: new Uint8Array(64) };

test("a client that sends and never reads is cut after its time, and others are answered meanwhile", async () => {
  const { url, guest } = await startParent({ limits: { sendTimeoutMs: 300 } });
  await startFakeEnclave(guest, large);
  const { socket } = open(url);
  socket.write(REQUEST.repeat(12));
  expect((await poster(url)()).status).toBe(200);
  await until(
    async () => (await metric(url, 'cloister_http_connections_cut_total{reason="slow-reader"}')) !== undefined,
  );
  await until(async () => (await metric(url, "cloister_unsent_answer_bytes"))?.endsWith(" 0") === true);
  await until(async () => (await metric(url, "cloister_requests_in_flight"))?.endsWith(" 0") === true);
});

test("of all that is not taken there is a bound: who has not read for longest is cut first", async () => {
  const { url, guest } = await startParent({ limits: { sendTimeoutMs: 60_000, maxUnsentBytes: 4 * MEBIBYTE } });
  await startFakeEnclave(guest, large);
  const slow = Array.from({ length: 6 }, () => open(url));
  for (const { socket } of slow) socket.write(REQUEST.repeat(10));
  await until(
    async () => (await metric(url, 'cloister_http_connections_cut_total{reason="unsent-bytes"}')) !== undefined,
  );
  const [, bytes] = (await metric(url, "cloister_unsent_answer_bytes"))?.split(" ") ?? [];
  expect(Number(bytes)).toBeLessThanOrEqual(4 * MEBIBYTE + 100_000);
  expect((await poster(url)()).status).toBe(200);
});

test("more requests on one connection than may wait there end it", async () => {
  const { url, guest } = await startParent();
  const { waiting, handle } = holding();
  await startFakeEnclave(guest, handle);
  const { socket, closed } = open(url);
  socket.resume();
  socket.write(REQUEST.repeat(16));
  await until(() => waiting.length === 16);
  socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
  await closed;
  expect(await metric(url, 'cloister_http_connections_cut_total{reason="pipelined"}')).toMatch(/ 1$/);
  for (const answer of waiting) answer();
});

test("an address holds no more connections than are free, and a trusted proxy as many as there are", async () => {
  const { url } = await startParent({ limits: { maxConnections: 6 } });
  const connections = Array.from({ length: 4 }, () => open(url));
  for (const { socket } of connections) socket.resume();
  await connections[3]?.closed;
  connections[0]?.socket.destroy();
  await until(async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.status === 200);
  const trusting = await startParent({
    http: { ...HTTP, trustedProxies: ["127.0.0.0/8"] },
    limits: { maxConnections: 6 },
  });
  const through = Array.from({ length: 5 }, () => open(trusting.url));
  await Promise.all(through.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
  expect((await fetch(`${trusting.url}/healthz`)).status).toBe(200);
});

test("shares: half for one, a third each for two, and something left for who comes next", () => {
  const shares = new FairShares(12);
  const takeAll = (holder: string) => {
    let count = 0;
    while (shares.take(holder) === "taken") count += 1;
    return count;
  };
  expect([takeAll("a"), takeAll("b"), takeAll("c")]).toEqual([6, 3, 2]);
  expect(shares.take("c")).toBe("over-share");
  expect(shares.take("d")).toBe("taken");
  expect(shares.take("e")).toBe("full");
  shares.release("a");
  expect(shares.take("e")).toBe("taken");
  for (const [holder, count] of [
    ["a", 5],
    ["b", 3],
    ["c", 2],
    ["d", 1],
    ["e", 1],
  ] as const) {
    for (let n = 0; n < count; n += 1) shares.release(holder);
  }
  expect(shares.held).toBe(0);
  expect(() => shares.release("a")).toThrow(RangeError);
});

test("an IPv6 network of 64 bits is one holder, and an address in its mapped form the same as in its own", () => {
  expect(holderOf("2001:db8::1")).toBe(holderOf("2001:DB8:0:0:ffff::2"));
  expect(holderOf("2001:db8::1")).not.toBe(holderOf("2001:db8:0:1::1"));
  expect(holderOf("::1")).toBe("0:0:0:0::/64");
  expect(holderOf("fe80::1%eth0")).toBe("fe80:0:0:0::/64");
  for (const mapped of ["::ffff:192.0.2.1", "::ffff:c000:201", "::FFFF:C000:0201", "0:0:0:0:0:ffff:c000:201"])
    expect(holderOf(mapped)).toBe("192.0.2.1");
  expect(holderOf("192.0.2.1")).toBe("192.0.2.1");
  // Neither is mapped: the one is compatible (RFC 4291, 2.5.5.1), the other translated (RFC 2765).
  for (const other of ["::c000:201", "::ffff:0:c000:201"]) expect(holderOf(other)).toBe("0:0:0:0::/64");
});

test("a port behind an address, as some proxies write it, makes nobody another holder", () => {
  expect(holderOf("192.0.2.1:50000")).toBe("192.0.2.1");
  expect(holderOf("[2001:db8::1]:50000")).toBe(holderOf("2001:db8::1"));
  expect(holderOf("[2001:db8::1]")).toBe(holderOf("2001:db8::1"));
  expect(holderOf("[::ffff:192.0.2.1]:50000")).toBe("192.0.2.1");
  for (const none of ["", "unknown", "[", "[]", "1:2", ":443"]) expect(typeof holderOf(none)).toBe("string");
});

test("proxies are named by address or network", () => {
  const isTrusted = parseProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);
  for (const address of ["10.255.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "192.0.2.1", "fd00::1"])
    expect(isTrusted?.(address)).toBe(true);
  for (const address of ["11.0.0.1", "192.0.2.2", "fe80::1", "", "unix"]) expect(isTrusted?.(address)).toBe(false);
  const isMapped = parseProxies(["::ffff:10.0.0.0/104", "::ffff:c000:201"]);
  for (const address of ["10.255.0.1", "192.0.2.1"]) expect(isMapped?.(address)).toBe(true);
  for (const address of ["11.0.0.1", "192.0.2.2"]) expect(isMapped?.(address)).toBe(false);
  for (const entry of ["10.0.0.0/33", "10.0.0", "proxy.internal", "::/129", "::ffff:10.0.0.0/95", ""])
    expect(parseProxies([entry])).toBeUndefined();
});
