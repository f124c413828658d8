/** What the fuzzers of our own readers share: arguments, the program under test with counters in it, and what is said of a run. */
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import type { FuzzResult } from "./fuzz-engine.ts";
import { COUNTERS_GLOBAL, instrument } from "./fuzz-instrument.ts";

/** One run of a fuzzer, by the name that its lines begin with. */
export interface FuzzRun {
  readonly fuzzer: string;
  readonly seconds: number;
  readonly seed: number;
}

/** `[--seconds N] [--seed N]`; ends the process where it is called otherwise. */
export function fuzzRunOf(fuzzer: string): FuzzRun {
  const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" }, seed: { type: "string" } } });
  const seconds = Number(values.seconds);
  const seed = values.seed === undefined ? randomInt(1, 2 ** 31) : Number(values.seed);
  if (!(seconds > 0 && seconds <= 86_400) || !Number.isSafeInteger(seed)) {
    console.error(`${fuzzer}: expected --seconds from 1 to 86400 and an integer as --seed`);
    process.exit(2);
  }
  return { fuzzer, seconds, seed };
}

/** The module at `entry` with all that it imports, and the counters that it counts in. */
export async function loadInstrumented<Module>(
  entry: string,
  platform: "neutral" | "node",
): Promise<{ readonly program: Module; readonly counters: Uint8Array }> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform,
    format: "esm",
    target: "es2024",
    conditions: ["cloister-source"],
    logLevel: "warning",
  });
  const { code, counters: size } = instrument(outputFiles[0]?.text ?? "");
  const counters = new Uint8Array(size);
  Reflect.set(globalThis, COUNTERS_GLOBAL, counters);
  const folder = mkdtempSync(join(tmpdir(), "cloister-fuzz-"));
  try {
    const path = join(folder, "program.mjs");
    writeFileSync(path, code);
    return { program: (await import(pathToFileURL(path).href)) as Module, counters };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @returns Whether nothing happened that must not. */
export function report(run: FuzzRun, target: string, result: FuzzResult, tookMs: number): boolean {
  const { executions, reached, kept, failure } = result;
  const rate = Math.round(executions / (tookMs / 1000));
  console.log(
    `${run.fuzzer}: ${target}: ${executions} inputs (${rate}/s), ${reached} counters reached, ${kept} inputs kept`,
  );
  return failure === null || fail(run, target, failure.input, failure.error);
}

export function fail({ fuzzer, seed }: FuzzRun, target: string, input: Uint8Array, error: unknown): false {
  console.error(`${fuzzer}: ${target}: FAILED with --seed ${seed}`, error);
  console.error(`${fuzzer}: input, hex: ${Buffer.from(input).toString("hex")}`);
  return false;
}
