/**
 * Whether the enclave's memory is flat over millions of requests: make soak REQUESTS=10000000. Writes what it saw to dist/soak.json,
 * and fails if memory is not flat by the rule in scripts/soak/flat.ts.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg } from "node:os";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { Flatness } from "./soak/flat.ts";
import { runSoak } from "./soak/run.ts";
import { LONG, SHORT } from "./soak/sizes.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "10000000" },
    json: { type: "string", default: "dist/soak.json" },
  },
});
const requests = Number(values.requests);
if (!Number.isSafeInteger(requests) || requests < 20_000) {
  console.error(`--requests ${values.requests}: expected a number of at least 20000`);
  process.exit(2);
}
const options = { ...(requests < LONG.requests / 10 ? SHORT : LONG), requests };
const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}`;
console.log(`${machine}, load ${loadavg()[0]?.toFixed(1)}`);
console.log("  requests      %     left  heap  ext.   RSS, MiB  CPU us");

const startedAt = Date.now();
const report = await runSoak({
  ...options,
  say({ requests: done, atS, heapUsed, external, rss, cpuUsPerRequest }) {
    const leftS = (atS / done) * Math.max(0, requests - done);
    const cells = [
      String(done).padStart(10),
      ((100 * done) / requests).toFixed(1).padStart(6),
      `${Math.floor(leftS / 60)}m${String(Math.floor(leftS % 60)).padStart(2, "0")}s`.padStart(8),
      ...[heapUsed, external, rss].map((bytes) => mib(bytes).padStart(5)),
      cpuUsPerRequest.toFixed(0).padStart(11),
    ];
    console.log(cells.join(" "));
  },
  sayFilled(entries) {
    const many = [...entries].filter(([, count]) => count >= 1_000);
    console.log(`entries now: ${many.map(([name, count]) => `${name} ${count}`).join(", ")}`);
  },
});
await mkdir(dirname(values.json), { recursive: true });
const about = { machine, load: loadavg(), startedAt: new Date(startedAt).toISOString() };
await writeFile(values.json, `${JSON.stringify({ ...about, ...report }, undefined, 1)}\n`);

console.log(`\n${report.samples.at(-1)?.requests} requests in ${(report.seconds / 60).toFixed(1)} minutes`);
for (const [outcome, count] of Object.entries(report.outcomes))
  console.log(`${String(count).padStart(10)}  ${outcome}`);
console.log("\nentries after the first fifth, at the end, cap");
for (const [name, { filled, end, cap }] of Object.entries(report.collections)) {
  console.log(`${[filled, end, cap ?? "-"].map((each) => String(each).padStart(9)).join(" ")}  ${name}`);
}
console.log("");
describe("heap and external memory after collection", report.held);
if (report.resident !== null) describe("resident set", report.resident);
for (const problem of report.problems) console.error(`NOT FLAT: ${problem}`);
if (report.problems.length === 0) console.log("memory is flat");
process.exitCode = report.problems.length === 0 ? 0 : 1;

function describe(what: string, { meanBytes, gainedBytes, gainedAtMostBytes, allowedBytes, ...rest }: Flatness): void {
  console.log(
    `${what}: mean ${mib(meanBytes)} MiB, over the last four fifths ${mib(gainedBytes, 2)} MiB gained, at most ` +
      `${mib(gainedAtMostBytes, 2)} (${rest.bytesPerRequest.toFixed(2)} bytes a request), allowed ${mib(allowedBytes, 2)}`,
  );
}

function mib(bytes: number, digits = 0): string {
  return (bytes / 2 ** 20).toFixed(digits);
}
