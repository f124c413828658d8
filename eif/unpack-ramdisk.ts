/**
 * Unpacks an archive that an attacker may have written, as any user: no name leads out of the folder, nothing is written
 * through a link, no device is made, and no file gets set-user-id.
 */
import { chmod, lstat, mkdir, rm, rmdir, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ByteSource } from "./byte-source.ts";
import type { CpioEntry } from "./cpio.ts";
import { ramdiskEntries } from "./ramdisk.ts";
import { RamdiskAllowance, type RamdiskLimits } from "./ramdisk-allowance.ts";
import { kindOf } from "./ramdisk-files.ts";

export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

/** The longest target that Linux takes: PATH_MAX with its NUL. */
const MAX_TARGET_BYTES = 4095;
const MAX_MTIME_SECONDS = 2 ** 32 - 1;

/**
 * @param folder - New, empty, and nobody else's to write to.
 * @returns What was not written.
 * @throws {@link EifError} `RAMDISK_*`
 */
export async function unpackRamdisk(
  source: ByteSource,
  folder: string,
  limits: RamdiskLimits = {},
): Promise<readonly LeftOut[]> {
  const allowance = new RamdiskAllowance(source.sizeBytes, limits);
  const unpacker = new Unpacker(folder, allowance);
  for await (const entry of ramdiskEntries(source, allowance)) await unpacker.put(entry);
  await unpacker.putLinks();
  return unpacker.leftOut;
}

class Unpacker {
  readonly leftOut: LeftOut[] = [];
  readonly #folder: string;
  /** What was written, by name. On a file system that does not tell cases apart two names may be one file. */
  readonly #written = new Map<string, "file" | "directory">();
  /** Links come last: until then there is none that anything could be written through. */
  readonly #links = new Map<string, Buffer>();

  /** A name of 4095 bytes may stand for two thousand folders, each with a name that is kept. */
  readonly #allowance: RamdiskAllowance;

  constructor(folder: string, allowance: RamdiskAllowance) {
    this.#folder = folder;
    this.#allowance = allowance;
  }

  async put(entry: CpioEntry): Promise<void> {
    const { name } = entry;
    const kind = kindOf(entry.mode);
    if (name === "") return;
    if (name.split("/").includes("..")) return this.#leaveOut(name, "its name leads out of the folder");
    switch (kind) {
      case "directory":
        this.#links.delete(name);
        if (await this.#directory(name, name)) await chmod(join(this.#folder, name), (entry.mode & 0o777) | 0o700);
        return;
      case "file":
        this.#links.delete(name);
        return this.#file(entry);
      case "symlink":
        return this.#link(entry);
      default:
        return this.#leaveOut(
          name,
          `a ${kind}${kind.endsWith("device") ? ` ${entry.deviceMajor}:${entry.deviceMinor}` : ""}`,
        );
    }
  }

  async putLinks(): Promise<void> {
    for (const [name, target] of this.#links) {
      if (!(await this.#directory(dirname(name), name))) continue;
      try {
        await symlink(target, join(this.#folder, name));
      } catch (error) {
        this.#leaveOut(name, `a link that cannot be made: ${(error as NodeJS.ErrnoException).code}`);
      }
    }
  }

  async #file(entry: CpioEntry): Promise<void> {
    const { name, mode, mtimeSeconds } = entry;
    if (!(await this.#directory(dirname(name), name))) return;
    const path = join(this.#folder, name);
    // The kernel lets a later entry of the same name take the place of an earlier one.
    if (this.#written.get(name) === "file") await rm(path);
    try {
      await writeFile(path, entry.data(), { flag: "wx", mode: 0o600 });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EEXIST" && code !== "ENAMETOOLONG") throw error;
      return this.#leaveOut(name, code === "EEXIST" ? "something of that name is there" : "its name is too long");
    }
    this.#written.set(name, "file");
    await chmod(path, mode & 0o777);
    await utimes(path, mtimeSeconds, Math.min(mtimeSeconds, MAX_MTIME_SECONDS));
  }

  async #link(entry: CpioEntry): Promise<void> {
    const { name, sizeBytes } = entry;
    if (sizeBytes < 1 || sizeBytes > MAX_TARGET_BYTES)
      return this.#leaveOut(name, `a link to ${sizeBytes} bytes of name`);
    this.#allowance.takeName(sizeBytes);
    const pieces: Uint8Array[] = [];
    for await (const piece of entry.data()) pieces.push(piece.slice());
    const target = Buffer.concat(pieces);
    if (target.includes(0)) return this.#leaveOut(name, "a link whose target holds NUL");
    const before = this.#written.get(name);
    if (before === "file") await rm(join(this.#folder, name));
    else if (before === "directory") await rmdir(join(this.#folder, name)).catch(() => undefined);
    this.#written.delete(name);
    this.#links.set(name, target);
  }

  /** Makes a directory and those above it, for an entry. False, and said why, where something else is in the way. */
  async #directory(name: string, entryName: string): Promise<boolean> {
    const parts = name === "." ? [] : name.split("/");
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const part = parts.slice(0, depth).join("/");
      if (this.#written.get(part) === "directory") continue;
      this.#allowance.takeName(part.length);
      const path = join(this.#folder, part);
      try {
        await mkdir(path, { mode: 0o700 });
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        const isThere = code === "EEXIST" && (await lstat(path)).isDirectory();
        if (!isThere) {
          this.#leaveOut(entryName, `${part} is no directory`);
          return false;
        }
      }
      this.#written.set(part, "directory");
    }
    return true;
  }

  #leaveOut(name: string, why: string): void {
    this.leftOut.push({ name, why });
  }
}
