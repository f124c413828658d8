import { createServer } from "node:http";
import { createConnection } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startParentProxy } from "../../parent-proxy/index.ts";
import { RECORDS_PORT } from "../../protocol/index.ts";
import { hostVsock } from "../../vsock/index.ts";
import { json, recordedLog, recordsClient, startFakeEnclave, startParent, temporaryFolder, until } from "./fixture.ts";

test("requests under way are answered while new ones are refused; then everything is closed", async () => {
  const { proxy, url, guest } = await startParent();
  const release = Promise.withResolvers<void>();
  const body = new Uint8Array(200_000).fill(0x20);
  const { calls } = await startFakeEnclave(guest, async () => {
    await release.promise;
    // What the enclave needs to finish is still there.
    const answer = await recordsClient(guest)({ kind: "get", name: "a" });
    return { status: answer.kind === "record" ? 200 : 500, body, signature: null };
  });
  const waiting = fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" });
  await until(() => calls.length === 1);
  const closed = proxy.close();

  const readyz = await fetch(`${url}/readyz`);
  expect([readyz.status, await readyz.json()]).toEqual([503, { enclave: "draining", reason: null }]);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  for (const [path, method] of [
    ["/v1/sign_message", "POST"],
    [`/v1/attestation?nonce=${"00".repeat(16)}`, "GET"],
  ]) {
    const refused = await fetch(`${url}${path}`, { method: method ?? "" });
    expect([refused.status, refused.headers.get("connection")]).toEqual([503, "close"]);
    expect(await refused.json()).toMatchObject({ requestId: null, error: { code: "PARENT_DRAINING" } });
  }

  release.resolve();
  const answer = await waiting;
  expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, body.length]);
  await closed;
  await proxy.close();
  expect(calls).toHaveLength(1);
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  await expect(guest.connect(RECORDS_PORT, { timeoutMs: 1_000 })).rejects.toMatchObject({ code: "CONNECT_REFUSED" });
});

test("a request that the enclave never answers does not outlast the drain's deadline", async () => {
  const { proxy, url, guest } = await startParent({ limits: { drainTimeoutMs: 50 } });
  const { calls } = await startFakeEnclave(guest, () => new Promise(() => {}));
  const waiting = fetch(`${url}/v1/sign_message`, { method: "POST", body: "{}" }).catch(() => "cut off");
  await until(() => calls.length === 1);
  await proxy.close();
  expect(await waiting).toBe("cut off");
});

test("a client that went away is not waited for", async () => {
  const { proxy, guest } = await startParent();
  const { calls } = await startFakeEnclave(guest, async () => ({ status: 200, body: json({}), signature: null }));
  const socket = createConnection(proxy.httpPort, "127.0.0.1");
  // The body does not come.
  socket.write("POST /v1/sign_message HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{");
  await until(async () => {
    socket.destroy();
    return socket.closed;
  });
  await proxy.close();
  expect(calls).toEqual([]);
});

test("a start that fails leaves nothing open", async () => {
  const folder = await temporaryFolder();
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as { port: number };
  const options = {
    http: { host: "127.0.0.1", port },
    records: { kind: "sqlite", file: join(folder, "records.db") } as const,
    egress: { allow: [], connectTo: new Map() },
    credentials: () => Promise.reject(new Error("none")),
    log: recordedLog().log,
  };
  const start = (other: object) => startParentProxy({ ...options, vsock: hostVsock(join(folder, "v")), ...other });
  await expect(start({})).rejects.toMatchObject({ code: "HTTP_UNAVAILABLE" });
  const free = { http: { host: "127.0.0.1", port: 0 } };
  await expect(start({ ...free, records: { kind: "sqlite", file: folder } })).rejects.toMatchObject({
    code: "RECORDS_UNUSABLE",
  });
  // The vsock's ports are free again: this one takes them all, and only one can.
  const proxy = await start(free);
  await expect(start(free)).rejects.toMatchObject({ code: "PORT_IN_USE" });
  await proxy.close();
});
