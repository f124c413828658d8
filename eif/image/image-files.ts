/** The files of an image layout, whether they stand in a folder or in a tar archive. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Budget } from "./budget.ts";
import { normaliseName, parentOf, shown } from "./entry-name.ts";
import { ImageError } from "./errors.ts";
import { type FileRange, wholeFile } from "./file-range.ts";
import { readTar, type TarKind } from "./read-tar.ts";
import { compressionOf, unpack } from "./stage-layer.ts";

export interface ImageFiles {
  /** @returns `undefined` where there is no such file. */
  find(name: string): Promise<FileRange | undefined>;
}

export interface Workplace {
  /** Of the build alone; removed after it. */
  readonly folder: string;
  readonly budget: Budget;
  readonly signal: AbortSignal;
}

/** @throws {@link ImageError} `UNREADABLE`, and the tar format's codes. */
export async function openImageFiles(path: string, workplace: Workplace): Promise<ImageFiles> {
  const found = await stat(path).catch((cause: Error) => {
    throw new ImageError("UNREADABLE", `cannot read ${path}: ${cause.message}`, { cause });
  });
  return found.isDirectory() ? folderFiles(path) : archiveFiles(await wholeFile(path, { follow: true }), workplace);
}

function folderFiles(folder: string): ImageFiles {
  return {
    async find(name) {
      try {
        return await wholeFile(join(folder, normaliseName(name)), { follow: false });
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  const cause = error instanceof ImageError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === "ENOENT" || cause?.code === "ENOTDIR";
}

interface Member {
  readonly kind: TarKind;
  readonly linkName: string;
  readonly range: FileRange | undefined;
}

/** An archive that was compressed as a whole (`docker save | gzip`) is unpacked first; otherwise files are used in place. */
async function archiveFiles(archive: FileRange, { folder, budget, signal }: Workplace): Promise<ImageFiles> {
  const compression = await compressionOf(archive);
  let tar = archive;
  if (compression !== "none") {
    tar = (await unpack(archive, compression, join(folder, "archive.tar"), budget, signal)).range;
  }
  const entries = new Map<string, Member>();
  for await (const entry of readTar(tar, budget)) {
    signal.throwIfAborted();
    const name = normaliseName(entry.name);
    if (entry.kind === "directory") continue;
    if (entries.has(name)) throw new ImageError("NAME_DUPLICATE", `${shown(name)} stands twice in the archive`);
    entries.set(name, { kind: entry.kind, linkName: entry.linkName, range: entry.range });
  }
  return { find: async (name) => resolve(entries, normaliseName(name)) };
}

/** docker's older archives hold a layer that two images share once, and a symbolic link in its other place. */
function resolve(entries: ReadonlyMap<string, Member>, name: string): FileRange | undefined {
  const entry = entries.get(name);
  if (entry?.kind === "symlink") {
    const linked = entries.get(siblingName(parentOf(name), entry.linkName));
    if (linked?.kind === "file") return linked.range;
  }
  if (entry === undefined) return undefined;
  // A sparse file is none: digests are of bytes that are there.
  if (entry.kind !== "file" || entry.range === undefined) {
    throw new ImageError("UNKNOWN_FORMAT", `${shown(name)} in the archive is no plain file`);
  }
  return entry.range;
}

/** `../<id>/layer.tar`, seen from a folder at the top. */
function siblingName(folder: string, target: string): string {
  return target.startsWith("../") && !folder.includes("/")
    ? normaliseName(target.slice("../".length))
    : normaliseName(target);
}
