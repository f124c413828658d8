/**
 * Builds the enclave image twice, in surroundings as different as this machine allows, and compares every byte.
 *
 *   node scripts/reproduce.ts [--manifest cloister.yaml] [--full]
 *
 * `--full` begins with empty caches of bases and kernels, so that those are made twice too; the packages they are made of
 * are taken from the cache, where their hashes are checked.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { compareTrees, type Difference } from "./image/compare.ts";
import { cacheFolder, sha256 } from "./image/debian.ts";

interface Surroundings {
  readonly name: string;
  readonly folder: string;
  readonly umask: string;
  readonly env: Readonly<Record<string, string>>;
  /** Who owns the sources and writes the EIF; only root can choose. */
  readonly uid: number;
  readonly order: (paths: string[]) => string[];
  readonly mtimeSeconds: (at: number) => number;
}

const SURROUNDINGS: readonly Surroundings[] = [
  {
    name: "first",
    folder: "a",
    umask: "022",
    env: { TZ: "UTC", LC_ALL: "C" },
    uid: 0,
    order: (paths) => paths,
    mtimeSeconds: () => 1_000_000_000,
  },
  {
    name: "second",
    folder: "b/a longer way/to the sources",
    umask: "077",
    env: {
      TZ: "Pacific/Kiritimati",
      LC_ALL: "tr_TR.UTF-8",
      LANG: "ja_JP.UTF-8",
      USER: "somebody",
      HOSTNAME: "elsewhere",
      SOURCE_DATE_EPOCH: "315532800",
    },
    uid: 12_345,
    order: (paths) => paths.toReversed(),
    mtimeSeconds: (at) => 1_500_000_000 + 7919 * at,
  },
];
/** Where a copy has the manifest that was asked for, wherever that is. */
const MANIFEST = "cloister.yaml";
/** What is compared; all of dist/ but what is only a copy of npm's tarballs. */
const PRODUCTS = ["cloister.eif", "measurements.json", "kernel", "bundle", "image"];

const { values } = parseArgs({
  options: { manifest: { type: "string", default: "" }, full: { type: "boolean", default: false } },
});
const isRoot = process.getuid?.() === 0;
const work = mkdtempSync(join(tmpdir(), "cloister-reproduce-"));
chmodSync(work, 0o755);
try {
  const built = SURROUNDINGS.map((surroundings) => build(surroundings));
  process.exitCode = report(built[0] ?? "", built[1] ?? "");
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** @returns The folder of what was made. */
function build(surroundings: Surroundings): string {
  const { name, env, umask, uid } = surroundings;
  const startedAt = performance.now();
  const source = join(work, surroundings.folder);
  console.log(`reproduce: ${name}: ${source}, umask ${umask}, ${Object.entries(env).join(" ").replaceAll(",", "=")}`);
  copySources(source, surroundings);
  const manifest = values.manifest === "" ? [] : ["--manifest", MANIFEST];
  // The copy's own, if Node is the checkout's: another user may not be let into the folder of this one.
  const ownNode = relative(".", process.execPath);
  const node = ownNode.startsWith("..") ? process.execPath : join(source, ownNode);
  const environment = { ...process.env, ...env, ...(values.full ? { XDG_CACHE_HOME: emptyCache(surroundings) } : {}) };
  const run = (only: string, as: { uid?: number; gid?: number }): void => {
    const script = `umask ${umask} && exec "$0" scripts/build-eif.ts --only ${only} "$@"`;
    const { status } = spawnSync("/bin/sh", ["-c", script, node, ...manifest], {
      cwd: source,
      env: environment,
      stdio: "inherit",
      ...as,
    });
    if (status !== 0) throw new Error(`reproduce: ${name}: the build failed`);
  };
  // Container engines want root or a set-up of their own; writing the EIF wants neither.
  run("parts", {});
  if (isRoot && uid !== 0) {
    execFileSync("chown", ["-R", `${uid}:${uid}`, join(source, "dist")]);
    run("eif", { uid, gid: uid });
  } else run("eif", {});
  console.log(`reproduce: ${name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  return join(source, "dist");
}

function copySources(target: string, { order, mtimeSeconds, uid }: Surroundings): void {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    encoding: "utf8",
  });
  const paths = listed.split("\0").filter((path) => path !== "" && existsSync(path));
  for (const [at, path] of order(paths).entries()) {
    const to = join(target, path);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(path, to);
    lutimesSync(to, mtimeSeconds(at), mtimeSeconds(at));
    if (isRoot) chownSync(to, uid, uid);
  }
  if (isRoot) for (const path of [target, dirname(target)]) chownSync(path, uid, uid);
  if (values.manifest !== "") {
    rmSync(join(target, MANIFEST), { force: true });
    copyFileSync(values.manifest, join(target, MANIFEST));
  }
  // As `npm ci` made it: its files are the same bytes for the same lock, and the image is not made from them.
  cpSync("node_modules", join(target, "node_modules"), { recursive: true, verbatimSymlinks: true });
}

/** With the packages that were fetched before, and nothing that was made of them. */
function emptyCache({ folder }: Surroundings): string {
  const cache = join(work, "cache", sha256(folder).slice(0, 8));
  if (existsSync(cacheFolder("debian")))
    cpSync(cacheFolder("debian"), join(cache, "cloister/debian"), { recursive: true });
  return cache;
}

function report(a: string, b: string): number {
  const differences = PRODUCTS.flatMap((product) => compareProduct(a, b, product));
  for (const { path, how } of differences) console.error(`reproduce: DIFFERENT: ${path}: ${how}`);
  if (differences.length === 0) {
    console.log(`reproduce: the same bytes: ${PRODUCTS.join(", ")}`);
    console.log(`reproduce: cloister.eif has SHA-256 ${sha256(readFileSync(join(a, "cloister.eif")))}`);
    return 0;
  }
  // Which section, and which file in which ramdisk.
  const eifs = [join(a, "cloister.eif"), join(b, "cloister.eif")];
  spawnSync(process.execPath, ["bin/cloister.js", "eif", "diff", ...eifs], { stdio: "inherit" });
  return 1;
}

function compareProduct(a: string, b: string, product: string): Difference[] {
  const path = join(a, product);
  if (!existsSync(path)) return [{ path: product, how: "was not made" }];
  return compareTrees(path, join(b, product)).map((difference) => ({
    ...difference,
    path: join(product, difference.path),
  }));
}
