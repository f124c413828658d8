import { expect, test } from "vitest";
import { json, recordsClient, startFakeEnclave, startParent, until } from "./fixture.ts";

test("counts requests by known operations only, so that nobody outside can make a new series", async () => {
  const { url, guest } = await startParent();
  await startFakeEnclave(guest, async (call) => ({
    status: call.kind === "operation" && call.body.length > 2 ? 401 : 200,
    body: json({}),
    signature: null,
  }));
  const post = (name: string, body: string) => fetch(`${url}/v1/${name}`, { method: "POST", body });
  await post("sign_message", "{}");
  await post("sign_message", "{   }");
  for (let at = 0; at < 20; at += 1) await post(`invented_${at}`, "{}");
  await post("constructor", "{}");
  await fetch(`${url}/v1/attestation?nonce=${"00".repeat(16)}`);
  await fetch(`${url}/v1/attestation`);

  const counts = async () => (await (await fetch(`${url}/metrics`)).text()).match(/^cloister_requests_total.*$/gm);
  await until(async () => (await counts())?.length === 5);
  expect((await counts())?.toSorted()).toEqual([
    'cloister_requests_total{operation="attestation",status="200"} 1',
    'cloister_requests_total{operation="attestation",status="400"} 1',
    'cloister_requests_total{operation="other",status="200"} 21',
    'cloister_requests_total{operation="sign_message",status="200"} 1',
    'cloister_requests_total{operation="sign_message",status="401"} 1',
  ]);
});

test("counts records calls, and shows the process and what is in flight", async () => {
  const { url, guest } = await startParent();
  const records = recordsClient(guest);
  await records({ kind: "get", name: "a" });
  await records({
    kind: "write",
    changes: [{ name: "a", expectedVersion: 5, version: 6, value: new Uint8Array(1) }],
  });
  const response = await fetch(`${url}/metrics`);
  const text = await response.text();
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const line of [
    'cloister_records_calls_total{call="get",answer="record"} 1',
    'cloister_records_calls_total{call="write",answer="conflict"} 1',
    "cloister_requests_in_flight 0",
    "process_resident_memory_bytes ",
    "nodejs_eventloop_lag_p99_seconds ",
  ]) {
    expect(text).toContain(line);
  }
});

test("two parents in one process keep their counts apart", async () => {
  const [one, two] = [await startParent(), await startParent()];
  await recordsClient(one.guest)({ kind: "get", name: "a" });
  expect(await (await fetch(`${one.url}/metrics`)).text()).toContain("cloister_records_calls_total{");
  expect(await (await fetch(`${two.url}/metrics`)).text()).not.toContain("cloister_records_calls_total{");
});
