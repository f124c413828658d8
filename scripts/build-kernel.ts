/**
 * Builds the enclave's kernel from Debian's source and eif/kernel/x86_64.config, inside the locked build base, into
 * dist/kernel/: `bzImage`, the final `.config` as `config`, and what compiled it. A kernel that was built before from the
 * same source, fragment and base is taken from the cache.
 *
 *   node scripts/build-kernel.ts [--out dist/kernel] [--force]
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, cp, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeBase } from "./image/base.ts";
import { cacheFolder, fetchDebianPackage, readLock, sha256 } from "./image/debian.ts";
import { Engine, layersOf } from "./image/engine.ts";
import { KERNEL_LOCK, type KernelLock } from "./image/kernel-lock.ts";
import { requireTools } from "./image/tools.ts";

const FOLDER = "eif/kernel";
const FRAGMENT = "x86_64.config";
const RECIPE = ["build.sh", "Dockerfile"];
const { values } = parseArgs({
  options: { out: { type: "string", default: "dist/kernel" }, force: { type: "boolean", default: false } },
});
const say = (line: string): void => console.log(`kernel: ${line}`);

try {
  const built = await buildKernel();
  await rm(values.out, { recursive: true, force: true });
  await mkdir(join(values.out, ".."), { recursive: true });
  await cp(built, values.out, { recursive: true });
  const bzImage = join(values.out, "bzImage");
  say(`${bzImage}: ${(await stat(bzImage)).size} bytes, SHA-256 ${sha256(await readFile(bzImage))}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** @returns A folder of the cache. */
async function buildKernel(): Promise<string> {
  const { source, snapshot } = await readLock<KernelLock>(KERNEL_LOCK);
  const base = await makeBase("build", say);
  const inputs = await Promise.all([FRAGMENT, ...RECIPE].map((name) => readFile(join(FOLDER, name), "utf8")));
  const key = sha256(JSON.stringify([source.sha256, base.reference, ...inputs])).slice(0, 16);
  const cached = cacheFolder("kernels", key);
  if (existsSync(cached) && !values.force) {
    say(`${source.version}, built before`);
    return cached;
  }
  requireTools({ "dpkg-deb": "dpkg", tar: "tar" });
  const engine = Engine.find();
  const deb = await fetchDebianPackage(source, snapshot, say);
  await mkdir(cacheFolder("kernels"), { recursive: true });
  const work = await mkdtemp(cacheFolder("kernels", ".making-"));
  try {
    await prepareContext(work, deb, source.name);
    say(`building Linux ${source.version} with ${engine.name}: some minutes`);
    await engine.build({
      dockerfile: "Dockerfile",
      context: join(work, "context"),
      buildArgs: { BUILD_BASE: await engine.load(base) },
      layout: join(work, "layout"),
      log: progress(),
    });
    const out = join(work, "out");
    await mkdir(out);
    for (const layer of await layersOf(join(work, "layout"))) execFileSync("tar", ["-xf", layer, "-C", out]);
    await rename(join(out, ".config"), join(out, "config"));
    await rm(cached, { recursive: true, force: true });
    await rename(out, cached);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return cached;
}

async function prepareContext(work: string, deb: string, name: string): Promise<void> {
  const context = join(work, "context");
  await mkdir(context);
  execFileSync("dpkg-deb", ["--extract", deb, join(work, "deb")]);
  await rename(join(work, "deb/usr/src", `${name}.tar.xz`), join(context, "linux-source.tar.xz"));
  await copyFile(join(FOLDER, FRAGMENT), join(context, "fragment"));
  for (const file of RECIPE) await copyFile(join(FOLDER, file), join(context, file));
}

/** A line now and then in place of one for each of a thousand files; what is not a step of make is shown. */
function progress(): (line: string) => void {
  const startedAt = performance.now();
  let compiled = 0;
  return (line) => {
    if (!/^ {2}[A-Z]+ /.test(line)) return say(line);
    compiled += 1;
    if (compiled % 200 === 0) say(`${compiled} steps, ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  };
}
