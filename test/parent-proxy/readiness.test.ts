import { expect, test } from "vitest";
import { type EnclaveStatus, REQUEST_PORT } from "../../protocol/index.ts";
import { json, startFakeEnclave, startParent, until } from "./fixture.ts";

const readyz = async (url: string) => {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, body: await response.json() };
};

test("says unreachable while nothing listens, and is alive all the same", async () => {
  const { url } = await startParent();
  expect(await readyz(url)).toMatchObject({
    status: 503,
    body: { enclave: "unreachable", reason: { code: "CONNECT_REFUSED" } },
  });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

const failure = { code: "KMS_DENIED", message: "the key policy names other PCRs" };
test.each<[EnclaveStatus, number]>([
  [{ phase: "booting", failure: null }, 503],
  [{ phase: "attested", failure: { code: "KMS_UNREACHABLE", message: "waits" } }, 503],
  [{ phase: "ready", failure: null }, 200],
  [{ phase: "ready", failure: null, secp256k1Binding: "libsecp256k1 0.5.0" }, 200],
  [{ phase: "failed", failure }, 503],
])("tells what the enclave says: %j", async (status, expected) => {
  const { url, guest } = await startParent();
  await startFakeEnclave(guest, async () => ({ status: 200, body: json(status), signature: null }));
  const body = { enclave: status.phase, reason: status.failure, secp256k1: status.secp256k1Binding };
  expect(await readyz(url)).toEqual({ status: expected, body });
});

test("says unreachable when the status is late or makes no sense", async () => {
  const { url, guest } = await startParent({ limits: { statusTimeoutMs: 50 } });
  const answers = [json({ phase: "splendid", failure: null }), json([]), new Uint8Array([0xff])];
  await startFakeEnclave(guest, async () => {
    const body = answers.shift();
    return body === undefined ? new Promise(() => {}) : { status: 200, body, signature: null };
  });
  for (const code of ["MALFORMED_STATUS", "MALFORMED_STATUS", "MALFORMED_STATUS", "CALL_TIMEOUT"]) {
    expect(await readyz(url)).toMatchObject({ status: 503, body: { enclave: "unreachable", reason: { code } } });
  }
});

test("probes at the same time share one call", async () => {
  const { url, guest } = await startParent();
  const release = Promise.withResolvers<void>();
  const { calls } = await startFakeEnclave(guest, async () => {
    await release.promise;
    return { status: 200, body: json({ phase: "ready", failure: null }), signature: null };
  });
  const first = readyz(url);
  await until(() => calls.length === 1);
  const others = Array.from({ length: 20 }, () => readyz(url));
  await fetch(`${url}/healthz`);
  release.resolve();
  await Promise.all([first, ...others]);
  expect(calls.length).toBeLessThan(5);
});

test("finds an enclave that was started again", async () => {
  const { url, guest } = await startParent();
  let streams = 0;
  await guest.listen(REQUEST_PORT, (stream) => {
    streams += 1;
    stream.once("data", () => stream.destroy());
  });
  expect((await readyz(url)).body).toMatchObject({ reason: { code: "CONNECTION_LOST" } });
  expect((await readyz(url)).body).toMatchObject({ reason: { code: "CONNECTION_LOST" } });
  expect(streams).toBe(2);
});
