/**
 * Bases without a registry: the packages of image/debian.lock.json, unpacked into one layer. No maintainer script runs, so
 * that no root is needed and the layer is a function of the lock alone.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rename, rm, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, DEBIAN_LOCK, type DebianLock, fetchDebianPackage, readLock, sha256 } from "./debian.ts";
import { writeOciLayout } from "./oci-layout.ts";
import { requireTools } from "./tools.ts";

/** Raised when the way of unpacking changes, so that no base of the old way is taken from the cache. */
const RECIPE = 1;
/** Debian 12's own layout (UsrMerge): packages still ship both paths. */
const MERGED = ["bin", "lib", "lib64", "sbin"];
/** What maintainer scripts would have made, as far as builds need it. */
const ALTERNATIVES = { "usr/bin/awk": "mawk", "usr/bin/cc": "gcc" };
const NOT_NEEDED = ["usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "var", "run"];

export interface Base {
  /** An OCI archive. */
  readonly archive: string;
  /** A name that says what is in it; engines want one. */
  readonly reference: string;
}

/** Makes the base, or takes it from the cache. */
export async function makeBase(name: "build" | "runtime", say: (line: string) => void): Promise<Base> {
  const lock = await readLock<DebianLock>(DEBIAN_LOCK);
  const { packages } = lock.bases[name];
  const key = sha256(JSON.stringify([RECIPE, packages])).slice(0, 16);
  const archive = cacheFolder("bases", `${name}-${key}.tar`);
  const reference = `localhost/cloister-${name}:${key}`;
  if (existsSync(archive)) return { archive, reference };
  requireTools({ "dpkg-deb": "dpkg", tar: "tar" });

  say(`${name} base: ${packages.length} packages of Debian ${lock.suite}`);
  const debs: string[] = [];
  for (const wanted of packages) debs.push(await fetchDebianPackage(wanted, lock.snapshot, say));
  await mkdir(cacheFolder("bases"), { recursive: true });
  const work = await mkdtemp(cacheFolder("bases", ".making-"));
  try {
    const root = join(work, "root");
    await unpack(debs, root, say);
    const layerFile = join(work, "layer.tar");
    writeTar(root, layerFile);
    const layerSha256 = await sha256OfFile(layerFile);
    const layerBytes = (await stat(layerFile)).size;
    const layout = join(work, "layout");
    const digest = await writeOciLayout(layout, { layerFile, layerSha256, layerBytes, reference });
    writeTar(layout, join(work, "base.tar"));
    await rename(join(work, "base.tar"), archive);
    say(`${name} base: ${(layerBytes / 1e6).toFixed(0)} MB, ${digest}`);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return { archive, reference };
}

async function unpack(debs: readonly string[], root: string, say: (line: string) => void): Promise<void> {
  for (const path of MERGED) {
    await mkdir(join(root, "usr", path), { recursive: true });
    await symlink(`usr/${path}`, join(root, path));
  }
  say("unpacking");
  for (const deb of debs) {
    const files = execFileSync("dpkg-deb", ["--fsys-tarfile", deb], { maxBuffer: 1 << 30 });
    // Packages still ship files under /bin and /lib: they follow the link, and do not put a folder in its place.
    const flags = ["--keep-directory-symlink", "--no-same-owner", "--same-permissions"];
    execFileSync("tar", ["-x", ...flags, "-C", root], { input: files });
  }
  for (const [link, target] of Object.entries(ALTERNATIVES)) {
    if (existsSync(join(root, "usr/bin", target))) await symlink(target, join(root, link));
  }
  for (const path of NOT_NEEDED) await rm(join(root, path), { recursive: true, force: true });
  for (const path of [".", "usr", "tmp", ...MERGED.map((path) => `usr/${path}`)]) {
    await mkdir(join(root, path), { recursive: true });
    await chmod(join(root, path), path === "tmp" ? 0o1777 : 0o755);
  }
}

/** Names sorted bytewise, no owner, no time: the same tar from any machine, user, locale and umask. */
function writeTar(root: string, file: string): void {
  const flags = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--format=gnu"];
  execFileSync("tar", [...flags, "-cf", file, "-C", root, "."], { env: { ...process.env, LC_ALL: "C" } });
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
