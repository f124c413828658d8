/**
 * Fuzzes the C that parses lengths, under AddressSanitizer and UBSan, for as long as it is told: with clang's libFuzzer,
 * which follows coverage, where clang is installed, otherwise with the driver in test/native/fuzz.c.
 *
 *   node scripts/fuzz-native.ts [--rounds N] [--seed N]
 */
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findCompiler, hostArchitecture } from "./build-native.ts";

const SOURCES = ["test/native/fuzz.c", "enclave/init/parse.c", "enclave/native/nsm-request.c"];
/** A whole answer of the NSM and a line of /proc/meminfo are shorter. */
const MAX_INPUT_BYTES = 1024;

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "20000000" }, seed: { type: "string", default: "" } },
});
const rounds = Number(values.rounds);
const seed = values.seed === "" ? randomInt(1, 2 ** 31) : Number(values.seed);
if (!(Number.isSafeInteger(rounds) && rounds > 0) || !Number.isSafeInteger(seed)) {
  console.error("fuzz-native: expected a number of --rounds, and an integer as --seed");
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
try {
  process.exitCode = fuzz();
} finally {
  rmSync(folder, { recursive: true });
}

function fuzz(): number {
  const program = join(folder, "fuzz");
  const sanitizers = (names: string) => [
    `-fsanitize=${names}`,
    "-fno-sanitize-recover=all",
    "-g",
    "-O1",
    "-o",
    program,
  ];
  const hasClang = spawnSync("clang", ["--version"]).status === 0;
  const compiler = hasClang ? "clang" : findCompiler(hostArchitecture());
  const flags = hasClang
    ? ["-DCLOISTER_LIBFUZZER", ...sanitizers("fuzzer,address,undefined")]
    : sanitizers("address,undefined");
  const built = spawnSync(compiler, ["-std=gnu11", "-D_GNU_SOURCE", ...flags, ...SOURCES], { stdio: "inherit" });
  if (built.status !== 0) return 1;
  console.log(`fuzz-native: ${hasClang ? "libFuzzer" : "own driver"}, seed ${seed}, ${rounds} inputs`);
  const args = hasClang
    ? [
        `-runs=${rounds}`,
        `-seed=${seed}`,
        `-max_len=${MAX_INPUT_BYTES}`,
        "-print_final_stats=1",
        `-artifact_prefix=${folder}/`,
      ]
    : [`${seed}`, `${rounds}`];
  return spawnSync(program, args, { stdio: "inherit" }).status === 0 ? 0 : 1;
}
