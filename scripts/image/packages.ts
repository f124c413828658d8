/**
 * npm's tarballs as a build without network needs them: out of npm's own cache, which `npm ci` fills, into a folder where
 * each is named by its hash in package-lock.json.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";

export interface LockedPackage {
  /** Where it is unpacked: `node_modules/…`. */
  readonly folder: string;
  readonly name: string;
  readonly version: string;
  /** SHA-512, hex. */
  readonly sha512: string;
}

interface LockEntry {
  readonly version?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
}

/** The bundler and its binary, beside what the image's code needs. */
const BUILD_PACKAGES = new Set(["node_modules/esbuild", "node_modules/@esbuild/linux-x64"]);

/** What the image is built from, for Linux on x86-64 whatever this machine is. */
export function imagePackages(lockFile = "package-lock.json"): LockedPackage[] {
  const { packages } = JSON.parse(readFileSync(lockFile, "utf8")) as { packages: Record<string, LockEntry> };
  return Object.entries(packages)
    .filter(([folder, { dev, os, cpu }]) => {
      if (folder === "" || (dev === true && !BUILD_PACKAGES.has(folder))) return false;
      return includes(os, "linux") && includes(cpu, "x64");
    })
    .map(([folder, { version, integrity }]) => {
      const [, base64] = /^sha512-([A-Za-z0-9+/=]+)$/.exec(integrity ?? "") ?? [];
      if (version === undefined || base64 === undefined)
        throw new Error(`${folder}: no version or no SHA-512 in the lock`);
      const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
      return { folder, name, version, sha512: Buffer.from(base64, "base64").toString("hex") };
    });
}

function includes(allowed: string | readonly string[] | undefined, value: string): boolean {
  return allowed === undefined || [allowed].flat().includes(value);
}

/** Copies every tarball to `folder`, as `<sha512>.tgz`; what npm's cache lacks, npm fetches. */
export async function collectTarballs(folder: string, say: (line: string) => void): Promise<void> {
  const wanted = imagePackages();
  const cache = join(npm("config", "get", "cache").trim(), "_cacache/content-v2/sha512");
  const inCache = ({ sha512 }: LockedPackage): string =>
    join(cache, sha512.slice(0, 2), sha512.slice(2, 4), sha512.slice(4));
  const missing = wanted.filter((locked) => !existsSync(inCache(locked)));
  if (missing.length > 0) {
    say(`fetching ${missing.length} packages into npm's cache`);
    npm("cache", "add", ...new Set(missing.map(({ name, version }) => `${name}@${version}`)));
  }
  await mkdir(folder, { recursive: true });
  for (const locked of wanted) {
    const source = inCache(locked);
    if (!existsSync(source) || sha512(source) !== locked.sha512) {
      throw new Error(`${locked.name}@${locked.version}: npm has no tarball with the SHA-512 of package-lock.json`);
    }
    await copyFile(source, join(folder, `${locked.sha512}.tgz`));
  }
}

function npm(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("npm", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`npm ${args.slice(0, 2).join(" ")} failed: ${stderr}`);
  return stdout;
}

export function sha512(path: string): string {
  return createHash("sha512").update(readFileSync(path)).digest("hex");
}
