/**
 * A random run against a parent that misbehaves on every port: npm run hostile -- --seed S --requests N. What must hold
 * of it, test/hostile-parent/random-run/ says; a shorter run of fixed seed is among the tests.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { runHostile } from "../test/hostile-parent/random-run/run.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: randomBytes(4).toString("hex") },
    requests: { type: "string", default: "1000" },
  },
});
const requests = Number(values.requests);
if (!Number.isSafeInteger(requests) || requests < 1) {
  console.error(`--requests ${values.requests}: expected a number of at least 1`);
  process.exit(2);
}
// An empty SEED= of make's means any.
const seed = values.seed === "" ? randomBytes(4).toString("hex") : values.seed;
const repeat = `make hostile SEED=${seed} N=${requests}`;
console.log(`seed ${seed}, ${requests} requests; to repeat: ${repeat}`);

const startedAt = performance.now();
const say = (line: string) =>
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(7)} s  ${line}`);
try {
  const summary = await runHostile({ seed, requests, say });
  console.log("\nmisdeeds by port");
  for (const [what, count] of summary.misdeeds) console.log(`${String(count).padStart(7)}  ${what}`);
  console.log("\nhow calls went, each try counted");
  for (const [what, count] of [...summary.outcomes].sort()) console.log(`${String(count).padStart(7)}  ${what}`);
  console.log(`
${summary.results} results, ${summary.wallets} wallets; served again ${summary.recoveredInMs} ms after the parent behaved
${summary.canaries} secrets looked for in ${(summary.searchedBytes / 2 ** 20).toFixed(1)} MiB`);
  if (summary.violations.length > 0) {
    console.error(`\n${summary.violations.length} VIOLATIONS`);
    for (const violation of summary.violations.slice(0, 50)) console.error(`  ${violation}`);
    console.error(`to repeat: ${repeat}`);
    process.exitCode = 1;
  } else {
    console.log("every invariant holds");
  }
} catch (error) {
  console.error(error);
  console.error(`the run broke off; to repeat: ${repeat}`);
  process.exitCode = 1;
}
