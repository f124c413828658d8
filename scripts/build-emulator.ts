/**
 * `make emulator`: QEMU's nitro-enclave machine, from Debian's source with emulator/patches/, and vhost-device-vsock from
 * Debian's package, both pinned by emulator/emulator.lock.json. What is built stands outside the tree; a second call
 * finds it.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { chmod, copyFile, cp, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { emulatorFolder, emulatorIn } from "../simulator/emulated/emulator.ts";
import { type DebianPackage, fetchDebianPackage, readLock } from "./image/debian.ts";

type Role = "qemu-source" | "qemu-debian" | "meson" | "qemu-firmware" | "seabios" | "vhost-device-vsock";

interface Lock {
  readonly snapshot: string;
  readonly files: Readonly<Record<Role, DebianPackage>>;
  /** Of those that Debian's package brings. */
  readonly debianPatches: readonly string[];
  readonly configure: readonly string[];
  readonly firmware: readonly string[];
}

/** What the build cannot do without, and how to tell that it is there. */
const TOOLS = ["gcc", "ar", "ninja", "patch", "pkg-config", "python3", "tar", "xz"] as const;
const LIBRARIES = ["libcbor", "glib-2.0", "gnutls", "zlib"] as const;

const recipe = resolve("emulator");

try {
  await main();
} catch (error) {
  console.error(`make emulator: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}

async function main(): Promise<void> {
  const folder = emulatorFolder();
  if (folder === null) throw new Error("emulator/emulator.lock.json is not here: run it in a checkout");
  if (isWorking(folder)) {
    console.log(`emulator: ${folder}`);
    return;
  }
  checkTools();
  const startedAt = performance.now();
  await mkdir(dirname(folder), { recursive: true });
  // Beside its final place: what is there under its name is whole.
  const work = await mkdtemp(join(dirname(folder), "emulator-build-"));
  try {
    await build(work);
    if (!isWorking(join(work, "out"))) throw new Error("what was built does not start");
    await rm(folder, { recursive: true, force: true });
    await rename(join(work, "out"), folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  console.log(`emulator: ${folder}   (built in ${Math.round((performance.now() - startedAt) / 1000)} s)`);
}

/** Libraries may have gone since it was built. */
function isWorking(folder: string): boolean {
  const { qemu, vhostDeviceVsock, firmware } = emulatorIn(folder);
  const starts = [qemu, vhostDeviceVsock].every((file) => spawnSync(file, ["--version"]).status === 0);
  return starts && existsSync(firmware);
}

function checkTools(): void {
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error("it runs on Linux x64 only");
  const missing: string[] = TOOLS.filter((tool) => spawnSync(tool, ["--version"]).error !== undefined);
  if (!missing.includes("pkg-config"))
    missing.push(...LIBRARIES.filter((library) => spawnSync("pkg-config", ["--exists", library]).status !== 0));
  // The one library that pkg-config does not know.
  const includesLibfdt = spawnSync("gcc", ["-E", "-include", "libfdt.h", "-x", "c", "/dev/null"]).status === 0;
  if (!includesLibfdt) missing.push("libfdt");
  if (spawnSync("python3", ["-c", "import ensurepip, venv"]).status !== 0) missing.push("Python's venv");
  if (missing.length === 0) return;
  throw new Error(
    `missing: ${missing.join(", ")}\nOn Debian and Ubuntu, as root: scripts/install-emulator-packages.sh`,
  );
}

async function build(work: string): Promise<void> {
  const lock = await readLock<Lock>(join(recipe, "emulator.lock.json"));
  const fetched = {} as Record<Role, string>;
  for (const [role, file] of Object.entries(lock.files) as [Role, DebianPackage][]) {
    fetched[role] = await fetchDebianPackage(file, lock.snapshot, (line) => console.log(line));
  }
  const out = emulatorIn(join(work, "out"));
  await mkdir(out.firmware, { recursive: true });
  for (const role of ["meson", "qemu-firmware", "seabios", "vhost-device-vsock"] as const) {
    await unpackDeb(fetched[role], join(work, "deb"));
  }
  await copyFile(join(work, "deb/usr/bin/vhost-device-vsock"), out.vhostDeviceVsock);
  for (const name of lock.firmware) {
    const [found] = globSync(`deb/usr/share/*/${name}`, { cwd: work });
    if (found === undefined) throw new Error(`no package of the lock has the firmware ${name}`);
    await cp(join(work, found), join(out.firmware, name), { dereference: true });
  }
  await buildQemu({ lock, fetched, work, target: out.qemu });
}

async function buildQemu(options: {
  readonly lock: Lock;
  readonly fetched: Readonly<Record<Role, string>>;
  readonly work: string;
  readonly target: string;
}): Promise<void> {
  const { lock, fetched, work, target } = options;
  const source = join(work, "qemu");
  await mkdir(source);
  console.log("unpack and patch QEMU");
  await run("tar", ["-xf", fetched["qemu-source"], "-C", source, "--strip-components=1"], work);
  await run("tar", ["-xf", fetched["qemu-debian"], "-C", source], work);
  const patches = [
    ...lock.debianPatches.map((name) => join(source, "debian/patches", name)),
    ...globSync(join(recipe, "patches/*.patch")).sort(),
  ];
  for (const patch of patches) await run("patch", ["-p1", "--fuzz=0", "-i", patch], source);
  await copyFile(join(recipe, "nitro.mak"), join(source, "configs/devices/x86_64-softmmu/nitro.mak"));

  const buildFolder = join(source, "build");
  await mkdir(buildFolder);
  console.log("configure QEMU");
  const env = { ...process.env, PYTHONPATH: join(work, "deb/usr/lib/python3/dist-packages") };
  await run("../configure", lock.configure, buildFolder, { env });
  console.log(`compile QEMU on ${availableParallelism()} cores (some minutes)`);
  await run("ninja", ["qemu-system-x86_64"], buildFolder, { env, onLine: printTenths() });
  await run("strip", ["-o", target, join(buildFolder, "qemu-system-x86_64")], work);
  await chmod(target, 0o755);
}

/** A .deb is an `ar` archive of two tarballs. */
async function unpackDeb(deb: string, into: string): Promise<void> {
  await mkdir(into, { recursive: true });
  await run("sh", ["-c", 'ar p "$1" data.tar.xz | tar -xJ -C "$2"', "sh", deb, into], ".");
}

/** Ninja counts its steps as [n/m]: a line for each tenth. */
function printTenths(): (line: string) => void {
  let printed = 0;
  return (line) => {
    const [, done, all] = /^\[(\d+)\/(\d+)\]/.exec(line) ?? [];
    const tenth = Math.floor((10 * Number(done ?? 0)) / Number(all ?? 1));
    if (tenth <= printed) return;
    printed = tenth;
    console.log(`  ${tenth * 10} %`);
  };
}

/** Silent unless it fails: then its last lines say why. */
async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  options: { readonly env?: NodeJS.ProcessEnv; readonly onLine?: (line: string) => void } = {},
): Promise<void> {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: options.env ?? process.env });
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on("line", (line) => {
      last.push(line);
      if (last.length > 20) last.shift();
      options.onLine?.(line);
    });
  }
  const { promise, resolve: onEnd } = Promise.withResolvers<string | null>();
  child.once("error", ({ message }) => onEnd(message));
  child.once("close", (code, signal) => onEnd(code === 0 ? null : `ended with ${signal ?? code}`));
  const wrong = await promise;
  if (wrong !== null) throw new Error(`${command} ${args.join(" ")}: ${wrong}\n${last.join("\n")}`);
}
