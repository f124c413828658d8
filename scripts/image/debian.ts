/**
 * Debian packages by name, version and SHA-256. A mirror drops old versions, so that what was fetched once stays in the
 * cache, and what the mirror no longer has is looked for in a snapshot archive.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Which of Debian's archives has it: the folder beside the mirror's name. */
  readonly archive: "debian" | "debian-security";
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What `image/debian.lock.json` holds. */
export interface DebianLock {
  readonly suite: string;
  /** When the lock was made, as snapshot archives write it: every version in it was current then. */
  readonly snapshot: string;
  readonly bases: Readonly<Record<"build" | "runtime", DebianBase>>;
}

export interface DebianBase {
  /** What was asked for; the rest came with it. */
  readonly roots: readonly string[];
  readonly packages: readonly DebianPackage[];
}

export const DEBIAN_LOCK = "image/debian.lock.json";
const DEFAULT_MIRROR = "http://deb.debian.org";
const DEFAULT_SNAPSHOT = "http://snapshot.debian.org/archive";

/** `~/.cache/cloister`, or where XDG says. */
export function cacheFolder(...parts: readonly string[]): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "cloister", ...parts);
}

export async function readLock<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, "utf8")) as T;
}

/**
 * The package's file, from the cache or the network. Environment: `CLOISTER_DEBIAN_MIRROR` and
 * `CLOISTER_DEBIAN_SNAPSHOT` name other places to fetch from; neither is trusted, because the hash decides.
 *
 * @returns A path in the cache, of a file that has the locked hash.
 */
export async function fetchDebianPackage(
  wanted: DebianPackage,
  snapshot: string,
  say: (line: string) => void,
): Promise<string> {
  const file = cacheFolder("debian", `${wanted.sha256.slice(0, 16)}-${basename(wanted.path)}`);
  if (existsSync(file) && sha256(await readFile(file)) === wanted.sha256) return file;
  const mirror = process.env["CLOISTER_DEBIAN_MIRROR"] || DEFAULT_MIRROR;
  const snapshots = process.env["CLOISTER_DEBIAN_SNAPSHOT"] || DEFAULT_SNAPSHOT;
  const places = [
    `${mirror}/${wanted.archive}/${wanted.path}`,
    `${snapshots}/${wanted.archive}/${snapshot}/${wanted.path}`,
  ];
  const failures: string[] = [];
  for (const url of places) {
    say(`fetching ${basename(wanted.path)} (${(wanted.sizeBytes / 1e6).toFixed(1)} MB)`);
    const bytes = await download(url);
    if (typeof bytes === "string") failures.push(`${url}: ${bytes}`);
    else if (sha256(bytes) !== wanted.sha256) failures.push(`${url}: SHA-256 is ${sha256(bytes)}`);
    else return await keep(file, bytes);
  }
  throw new Error(
    `${basename(wanted.path)}: no place has it with SHA-256 ${wanted.sha256}:\n  ${failures.join("\n  ")}\n` +
      `Put the file at ${file}, name a mirror that keeps old versions in CLOISTER_DEBIAN_MIRROR or ` +
      "CLOISTER_DEBIAN_SNAPSHOT, or lock today's versions with: npm run lock-debian",
  );
}

async function download(url: string): Promise<Buffer | string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(600_000) });
    if (!response.ok) return `HTTP ${response.status}`;
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    return error instanceof Error ? `${error.message} ${String(error.cause ?? "")}`.trim() : String(error);
  }
}

/** Renamed into place, so that two builds at once, or one that is killed, leave no half file. */
async function keep(file: string, bytes: Uint8Array): Promise<string> {
  await mkdir(join(file, ".."), { recursive: true });
  const half = `${file}.${process.pid}`;
  try {
    await writeFile(half, bytes);
    await rename(half, file);
  } finally {
    await rm(half, { force: true });
  }
  return file;
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
