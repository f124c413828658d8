/**
 * Searches what goes into the image for what must not be in it: the simulator, tests, the parent, code that makes code of
 * strings, and folders of the machine that built it.
 *
 *   node scripts/check-bundle.ts FILE|FOLDER…
 */
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Marker {
  readonly what: string;
  readonly pattern: RegExp;
  /** Which files: our bundle alone where others, such as Node itself, have the same for good reason. */
  readonly in: "every file" | "the bundle";
}

/** Each stands in a place that nobody would think of changing in order to hide: an import's path, a certificate's name. */
const MARKERS: readonly Marker[] = [
  { what: "the simulator's certificates and servers", pattern: /SIMULATOR - NOT AWS/, in: "every file" },
  { what: "the simulator's measurements", pattern: /SIMULATED IMAGE/, in: "every file" },
  { what: "the simulator", pattern: /^\/\/ simulator\//m, in: "the bundle" },
  { what: "the parent", pattern: /^\/\/ parent-proxy\//m, in: "the bundle" },
  { what: "clients", pattern: /^\/\/ client\//m, in: "the bundle" },
  { what: "commands and scripts", pattern: /^\/\/ (cli|scripts|kms-policy|eif)\//m, in: "the bundle" },
  { what: "tests", pattern: /^\/\/ (test|.*\.test)[/.]/m, in: "the bundle" },
  {
    what: "test runners",
    pattern: /^\/\/ node_modules\/(vitest|fast-check|viem|@biomejs|typescript|esbuild)\//m,
    in: "the bundle",
  },
  { what: "the parent's packages", pattern: /^\/\/ node_modules\/(fastify|prom-client)\//m, in: "the bundle" },
  { what: "addons compiled for tests", pattern: /CLOISTER_TEST/, in: "every file" },
  { what: "sanitizers", pattern: /__asan_init/, in: "every file" },
  { what: "eval", pattern: /(?<![\w$.])eval\s*\(/, in: "the bundle" },
  {
    what: "functions made of strings",
    pattern: /(?<![\w$.])new\s+Function\b|(?<![\w$.])Function\s*\(/,
    in: "the bundle",
  },
  { what: "other ways to make code", pattern: /\brunIn(This|New)?Context\b|\bnew\s+vm\.Script\b/, in: "the bundle" },
  { what: "a source map", pattern: /^\/\/# sourceMappingURL=/m, in: "the bundle" },
  {
    what: "folders of the building machine",
    pattern: /\/(home|Users|root|src\/node_modules|tmp\/cloister)\/[\w.-]/,
    in: "the bundle",
  },
];

export interface Finding {
  readonly path: string;
  readonly what: string;
  readonly excerpt: string;
}

export function checkFile(path: string): Finding[] {
  const text = readFileSync(path, "latin1");
  return MARKERS.filter((marker) => marker.in === "every file" || path.endsWith(".mjs")).flatMap(
    ({ what, pattern }) => {
      const found = pattern.exec(text);
      if (found === null) return [];
      const excerpt = text.slice(Math.max(0, found.index - 20), found.index + 60).replace(/[^ -~]+/g, " ");
      return [{ path, what, excerpt }];
    },
  );
}

export function checkTree(path: string): Finding[] {
  const status = lstatSync(path);
  if (status.isDirectory())
    return readdirSync(path)
      .sort()
      .flatMap((name) => checkTree(join(path, name)));
  return status.isFile() ? checkFile(path) : [];
}

function main(): number {
  const paths = process.argv.slice(2);
  if (paths.length === 0) {
    console.error("usage: node scripts/check-bundle.ts FILE|FOLDER…");
    return 2;
  }
  const findings = paths.flatMap(checkTree);
  for (const { path, what, excerpt } of findings) console.error(`${path}: ${what}: …${excerpt}…`);
  console.log(`check-bundle: ${paths.join(" ")}: ${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = main();
