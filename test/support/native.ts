/** Compiles for tests, into folders of their own: nothing that the image is made of comes from here. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  buildNative,
  findCompiler,
  hostArchitecture,
  type NativeTarget,
  WARNINGS,
} from "../../scripts/build-native.ts";
import type { Libsecp256k1 } from "../../scripts/image/libsecp256k1.ts";

/** Undefined where there is none: the tests that need one are skipped then, and say so. */
export const compiler = compilerOrNone();

function compilerOrNone(): string | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return findCompiler(hostArchitecture());
  } catch {
    return undefined;
  }
}

/** A folder that goes with the process. Short: unix sockets have 108 bytes for their path. */
export function nativeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "nat-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** @param libsecp256k1 - Its source, for the addon that needs it. */
export function buildForTest(
  target: NativeTarget,
  variant: "test" | "test-sanitized",
  libsecp256k1?: Libsecp256k1,
): string {
  const outFolder = nativeFolder();
  const source = libsecp256k1 === undefined ? {} : { libsecp256k1 };
  buildNative({ architecture: hostArchitecture(), outFolder, targets: [target], variant, ...source });
  return join(outFolder, target);
}

/** A program of C sources under AddressSanitizer and UBSan; any finding ends it with another status than 0. */
export function buildSanitized(sources: readonly string[], defines: readonly string[] = []): string {
  const path = join(nativeFolder(), "program");
  const { status, stderr } = spawnSync(
    compiler ?? "gcc",
    [
      ...["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-fno-omit-frame-pointer", ...WARNINGS, ...defines],
      ...["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", path, ...sources],
    ],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
  return path;
}

/** What `node` must be started with for an addon that was compiled with sanitizers. */
export function sanitizerEnvironment(): Record<string, string> {
  const library = (name: string) =>
    spawnSync(compiler ?? "gcc", [`-print-file-name=${name}`], { encoding: "utf8" }).stdout.trim();
  return {
    LD_PRELOAD: `${library("libasan.so")}:${library("libubsan.so")}`,
    // V8 keeps pointers where no leak checker finds them; the suite counts the addon's own memory instead.
    // What was freed is kept back from use, here 1 MB of it, so that memory does not seem to leak.
    ASAN_OPTIONS: "detect_leaks=0:quarantine_size_mb=1",
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  };
}
