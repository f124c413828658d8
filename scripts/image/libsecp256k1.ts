/**
 * The source of libsecp256k1 as Debian keeps it, unpacked, for scripts/build-native.ts. The hash in the lock decides, here
 * and inside the image's build.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type DebianPackage, fetchDebianPackage, readLock, sha256 } from "./debian.ts";

/** What enclave/native/libsecp256k1.lock.json holds. */
export interface Libsecp256k1Lock {
  readonly snapshot: string;
  /** Upstream's own archive, in Debian's pool. */
  readonly source: DebianPackage;
}

export const LIBSECP256K1_LOCK = "enclave/native/libsecp256k1.lock.json";

export interface Libsecp256k1 {
  readonly folder: string;
  readonly version: string;
}

/**
 * Unpacks it into a new folder.
 *
 * @param tarballs - Where {@link collectLibsecp256k1} put it, in a build without network; otherwise it is fetched, once.
 */
export async function unpackLibsecp256k1(
  folder: string,
  say: (line: string) => void,
  tarballs?: string,
): Promise<Libsecp256k1> {
  const { snapshot, source } = await readLock<Libsecp256k1Lock>(LIBSECP256K1_LOCK);
  const file =
    tarballs === undefined ? await fetchDebianPackage(source, snapshot, say) : join(tarballs, nameOf(source));
  if (!existsSync(file) || sha256(readFileSync(file)) !== source.sha256)
    throw new Error(`${file}: not there, or not what ${LIBSECP256K1_LOCK} names`);
  mkdirSync(folder, { recursive: true });
  execFileSync("tar", ["-xJf", file, "-C", folder, "--strip-components=1", "--no-same-owner"], { stdio: "pipe" });
  return { folder, version: source.version };
}

/** Copies the archive to `folder`, for a build without network. */
export async function collectLibsecp256k1(folder: string, say: (line: string) => void): Promise<void> {
  const { snapshot, source } = await readLock<Libsecp256k1Lock>(LIBSECP256K1_LOCK);
  const file = await fetchDebianPackage(source, snapshot, say);
  await mkdir(folder, { recursive: true });
  await copyFile(file, join(folder, nameOf(source)));
}

function nameOf({ sha256 }: DebianPackage): string {
  return `${sha256}.tar.xz`;
}
