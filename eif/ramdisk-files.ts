/** What the kernel makes of the entries of a ramdisk: one file for each name. */
import { createHash } from "node:crypto";
import type { ByteSource } from "./byte-source.ts";
import { FILE_TYPE } from "./cpio.ts";
import { hexOf } from "./measure.ts";
import { ramdiskEntries } from "./ramdisk.ts";
import type { RamdiskLimits } from "./ramdisk-allowance.ts";

export type FileKind =
  | "file"
  | "directory"
  | "symlink"
  | "character device"
  | "block device"
  | "fifo"
  | "socket"
  | "file of no known kind";

const KINDS: ReadonlyMap<number, FileKind> = new Map([
  [FILE_TYPE.FILE, "file"],
  [FILE_TYPE.DIRECTORY, "directory"],
  [FILE_TYPE.SYMLINK, "symlink"],
  [FILE_TYPE.CHARACTER_DEVICE, "character device"],
  [FILE_TYPE.BLOCK_DEVICE, "block device"],
  [FILE_TYPE.FIFO, "fifo"],
  [FILE_TYPE.SOCKET, "socket"],
]);

export function kindOf(mode: number): FileKind {
  return KINDS.get(mode & FILE_TYPE.MASK) ?? "file of no known kind";
}

export interface RamdiskFile {
  readonly kind: FileKind;
  /** The lowest twelve bits of the mode. */
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly sizeBytes: number;
  /** Of a device. */
  readonly device: string;
  /** SHA-256 of the data: of a symlink, of where it leads. */
  readonly contentSha256: string;
}

/**
 * Reads every file of a ramdisk. A name that occurs twice counts as the kernel has it in the end: the last one.
 *
 * @throws {@link EifError} `RAMDISK_*`
 */
export async function ramdiskFiles(source: ByteSource, limits: RamdiskLimits = {}): Promise<Map<string, RamdiskFile>> {
  const files = new Map<string, RamdiskFile>();
  for await (const entry of ramdiskEntries(source, limits)) {
    const hash = createHash("sha256");
    for await (const piece of entry.data()) hash.update(piece);
    const kind = kindOf(entry.mode);
    files.set(entry.name, {
      kind,
      permissions: entry.mode & 0o7777,
      uid: entry.uid,
      gid: entry.gid,
      mtimeSeconds: entry.mtimeSeconds,
      sizeBytes: entry.sizeBytes,
      device: kind.endsWith("device") ? `${entry.deviceMajor}:${entry.deviceMinor}` : "",
      contentSha256: hexOf(hash.digest()),
    });
  }
  return files;
}

export interface RamdiskSummary {
  readonly entries: number;
  readonly files: number;
  /** Data of all entries together. */
  readonly dataBytes: number;
  /** Names that occur more than once are not noted: linuxkit writes `rootfs` twice. */
  readonly specials: number;
}

/** Counts what is in a ramdisk; holds nothing of it. */
export async function summarizeRamdisk(source: ByteSource): Promise<RamdiskSummary> {
  let [entries, files, dataBytes, specials] = [0, 0, 0, 0];
  for await (const { mode, sizeBytes } of ramdiskEntries(source)) {
    entries += 1;
    dataBytes += sizeBytes;
    const kind = kindOf(mode);
    if (kind === "file") files += 1;
    else if (kind !== "directory" && kind !== "symlink") specials += 1;
  }
  return { entries, files, dataBytes, specials };
}
