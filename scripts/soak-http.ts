/**
 * Whether the memory of parent and enclave is flat under millions of requests over HTTP, and whether all that callers open is closed
 * again: make soak-http REQUESTS=1000000. Writes what it saw to dist/soak-http.json, and fails by the rule in scripts/soak/flat.ts.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg } from "node:os";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { runHttpSoak } from "./soak/http/run.ts";
import { LONG, SHORT } from "./soak/http/sizes.ts";

const INTERRUPTED = 130;

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000000" },
    json: { type: "string", default: "dist/soak-http.json" },
  },
});
const requests = Number(values.requests);
if (!Number.isSafeInteger(requests) || requests < SHORT.requests) {
  console.error(`--requests ${values.requests}: expected a number of at least ${SHORT.requests}`);
  process.exit(2);
}
const options = { ...(requests < LONG.requests / 10 ? SHORT : LONG), requests };
const stopping = new AbortController();
process.on("SIGINT", stop).on("SIGTERM", stop);

const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}`;
console.log(`${machine}, load ${loadavg()[0]?.toFixed(1)}`);
console.log("heap and external memory after collection, resident set (MiB), and file descriptors of each process");
console.log(`${" ".repeat(35)}${"parent".padEnd(18)}${"enclave".padEnd(18)}caller`);
console.log("  requests      %     left  a sec.  held   RSS  fds   held   RSS  fds   held   RSS");

const startedAt = Date.now();
let begunAtS = 0;
let before = { requests: 0, atS: 0 };
try {
  await run();
} catch (error) {
  if (!stopping.signal.aborted) throw error;
  console.error("stopped; nothing can be said");
  process.exitCode = INTERRUPTED;
}

async function run(): Promise<void> {
  const report = await runHttpSoak({
    ...options,
    signal: stopping.signal,
    begun: (atS) => {
      begunAtS = atS;
      before = { requests: 0, atS };
    },
    say({ requests: done, atS, parent, enclave, caller }) {
      const leftS = ((atS - begunAtS) / done) * Math.max(0, requests - done);
      const perSecond = (done - before.requests) / (atS - before.atS);
      before = { requests: done, atS };
      const cells = [
        String(done).padStart(10),
        Math.min(100, (100 * done) / requests)
          .toFixed(1)
          .padStart(6),
        `${Math.floor(leftS / 60)}m${String(Math.floor(leftS % 60)).padStart(2, "0")}s`.padStart(8),
        perSecond.toFixed(0).padStart(7),
        ...[parent, enclave].flatMap(({ heapUsed, external, rss, descriptors }) => [
          mib(heapUsed + external, 1).padStart(6),
          mib(rss).padStart(5),
          (descriptors === null ? "-" : String(sum(descriptors))).padStart(4),
        ]),
        mib(caller.heapUsed + caller.external, 1).padStart(6),
        mib(caller.rss).padStart(5),
      ];
      console.log(cells.join(" "));
    },
  });
  await mkdir(dirname(values.json), { recursive: true });
  const about = { machine, load: loadavg(), startedAt: new Date(startedAt).toISOString() };
  await writeFile(values.json, `${JSON.stringify({ ...about, ...report }, undefined, 1)}\n`);

  const took = (report.seconds / 60).toFixed(1);
  console.log(`\n${report.samples.at(-1)?.requests} requests in ${took} minutes`);
  for (const [outcome, count] of Object.entries(report.outcomes))
    console.log(`${String(count).padStart(10)}  ${outcome}`);
  console.log("");
  for (const [name, { samples, meanBytes, ...flat }] of Object.entries(report.flatness)) {
    const show = (value: number) => (name.endsWith("descriptors") ? value.toFixed(1) : `${mib(value, 2)} MiB`);
    console.log(
      `${name}: mean ${show(meanBytes)}, over the last four fifths ${show(flat.gainedBytes)} gained, at most ` +
        `${show(flat.gainedAtMostBytes)}, allowed ${show(flat.allowedBytes)} (${samples} samples)`,
    );
  }
  for (const problem of report.problems) console.error(`NOT FLAT: ${problem}`);
  if (report.problems.length === 0) {
    console.log("memory is flat, and what callers had opened is closed again");
  }
  process.exitCode = report.problems.length === 0 ? 0 : 1;
}

/** Once: parent and enclave are stopped, and waited for. Twice: they see this process end, and stop by themselves. */
function stop(): void {
  if (stopping.signal.aborted) process.exit(INTERRUPTED);
  stopping.abort();
  console.error("stopping");
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function mib(bytes: number, digits = 0): string {
  return (bytes / 2 ** 20).toFixed(digits);
}
