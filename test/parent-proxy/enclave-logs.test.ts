import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { createEnclaveLog } from "../../parent-proxy/enclave-logs.ts";
import { createMetrics } from "../../parent-proxy/metrics.ts";
import { encodeCbor, encodeFrame, LOG_PORT } from "../../protocol/index.ts";
import { recordedLog, startParent, until } from "./fixture.ts";

const message = (line: unknown) => encodeFrame(encodeCbor({ line }));

test("prints the enclave's lines tagged as its own, inside a field of their own", async () => {
  const { guest, lines } = await startParent();
  const stream = await guest.connect(LOG_PORT, { timeoutMs: 5_000 });
  stream.write(message('{"level":30,"event":"booted","from":"parent","time":1}'));
  stream.write(message('{"level":50,"event":"denied"}'));
  stream.write(message('{"level":"warn","event":"late"}'));
  await until(() => lines.length === 3);
  expect(lines).toMatchObject([
    { level: 30, from: "enclave", enclave: { event: "booted", from: "parent", time: 1 } },
    { level: 50, from: "enclave", enclave: { event: "denied" } },
    { level: 40, from: "enclave", enclave: { event: "late" } },
  ]);
  expect(lines[0]?.["time"]).not.toBe(1);
});

test.each(["not JSON", "[1]", "null", '"text"', ""])(
  "does not print a line that is no JSON object: %j",
  async (line) => {
    const { guest, lines } = await startParent();
    const stream = await guest.connect(LOG_PORT, { timeoutMs: 5_000 });
    stream.write(message(line));
    await until(() => lines.length === 1);
    expect(lines).toMatchObject([{ msg: "a log line of the enclave is no JSON object", characters: line.length }]);
  },
);

test.each([
  ["too long", "x".repeat(4097)],
  ["no text", 7],
])("closes a stream whose line is %s", async (_name, line) => {
  const { guest, lines } = await startParent();
  const stream = await guest.connect(LOG_PORT, { timeoutMs: 5_000 });
  stream.write(message(line));
  stream.resume();
  await new Promise((resolve) => stream.once("end", resolve));
  await until(() => lines.length === 1);
  expect(lines).toMatchObject([{ msg: "a log stream broke" }]);
});

test("drops lines over the rate, says how many, and goes on when time has passed", async () => {
  const { log, lines } = recordedLog();
  const metrics = createMetrics();
  let nowMs = 0;
  const accept = createEnclaveLog({ metrics, log, nowMs: () => nowMs });
  const stream = new PassThrough();
  accept(stream);
  const send = async (count: number) => {
    for (let at = 0; at < count; at += 1) stream.write(message('{"a":1}'));
    await new Promise((resolve) => setImmediate(resolve));
  };
  await send(1010);
  expect(lines).toHaveLength(1000);
  nowMs = 10;
  await send(5);
  // Two lines were earned in ten milliseconds, and before them stands what was lost.
  expect(lines.slice(1000)).toMatchObject([{ dropped: 10 }, { from: "enclave" }, { from: "enclave" }]);
  const text = await metrics.registry.metrics();
  expect(text).toContain('log_lines_total{fate="printed"} 1002');
  expect(text).toContain('log_lines_total{fate="dropped"} 13');
});
