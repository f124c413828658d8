/**
 * Where `make emulator` puts what it builds: a folder outside the tree, named by the hash of everything that decides its
 * contents, so that a change of lock, patch or configuration finds no old build.
 */
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SimulatorError } from "../errors.ts";

/** The build's recipe; only a checkout has it. */
const RECIPE = fileURLToPath(new URL("../../emulator/", import.meta.url));

export interface Emulator {
  readonly qemu: string;
  readonly vhostDeviceVsock: string;
  /** A folder. */
  readonly firmware: string;
}

/** Downloads and builds that several checkouts may share. */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME } = process.env;
  const base = XDG_CACHE_HOME === undefined || XDG_CACHE_HOME === "" ? join(homedir(), ".cache") : XDG_CACHE_HOME;
  return join(base, "cloister");
}

/** Null where there is no recipe: in the published package. */
export function emulatorFolder(): string | null {
  if (!existsSync(join(RECIPE, "emulator.lock.json"))) return null;
  const hash = createHash("sha256");
  for (const name of ["emulator.lock.json", "nitro.mak", ...globSync("patches/*.patch", { cwd: RECIPE }).sort()]) {
    const bytes = readFileSync(join(RECIPE, name));
    hash.update(`${name}\0${bytes.length}\0`).update(bytes);
  }
  return join(cacheFolder(), `emulator-${hash.digest("hex").slice(0, 16)}`);
}

export function emulatorIn(folder: string): Emulator {
  return {
    qemu: join(folder, "qemu-system-x86_64"),
    vhostDeviceVsock: join(folder, "vhost-device-vsock"),
    firmware: join(folder, "firmware"),
  };
}

/** @throws {@link SimulatorError} `EMULATOR_MISSING` */
export function findEmulator(): Emulator {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new SimulatorError("EMULATOR_MISSING", "the emulator runs on Linux x64 only");
  }
  const folder = emulatorFolder();
  if (folder === null) throw new SimulatorError("EMULATOR_MISSING", "only a checkout can build the emulator");
  const emulator = emulatorIn(folder);
  if (Object.values(emulator).every((path) => existsSync(path))) return emulator;
  throw new SimulatorError("EMULATOR_MISSING", `there is no emulator in ${folder}: run "make emulator"`);
}
