/** Reads a tar archive entry by entry. Contents stay in the file; an entry says where. */
import { type ByteSource, bytesSource } from "../byte-source.ts";
import type { Budget } from "./budget.ts";
import { shown } from "./entry-name.ts";
import { ImageError } from "./errors.ts";
import { type FileRange, RangeReader, sourceOf } from "./file-range.ts";
import { decodePax, MAX_EXTENSION_BYTES, type PaxRecords, paxNumber, xattrsOf } from "./pax.ts";
import { checkMap, expandedSource, readGnuMap, readPaxMap, type SparseMap } from "./sparse.ts";
import { BLOCK_BYTES, decodeHeader, isZero, type TarHeader } from "./tar-header.ts";

export type TarKind = "file" | "directory" | "symlink" | "hard-link" | "character-device" | "block-device" | "fifo";

export interface TarEntry {
  readonly kind: TarKind;
  /** Bytes as the archive has them, one per character. */
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly device: { readonly major: number; readonly minor: number };
  readonly content: ByteSource;
  /** Where the content lies, as long as it is one piece. */
  readonly range: FileRange | undefined;
  readonly xattrs: readonly string[];
}

/** What the headers before an entry say about it. */
interface Extensions {
  pax?: PaxRecords;
  longName?: string;
  longLink?: string;
}

const KINDS: Readonly<Record<string, TarKind>> = {
  "0": "file",
  "1": "hard-link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  S: "file",
};

const NO_RECORDS: PaxRecords = { values: new Map(), sparsePairs: [] };
const NOTHING = bytesSource(new Uint8Array());
const MAX_ID = 0xffff_ffff;

/** @throws {@link ImageError} with any code that begins with `TAR_`, `OWNER_OUT_OF_RANGE`, and a limit's. */
export async function* readTar(range: FileRange, budget: Budget): AsyncGenerator<TarEntry> {
  const tar = await RangeReader.open(range);
  try {
    yield* new TarReader(range, tar, budget).entries();
  } finally {
    await tar.close();
  }
}

class TarReader {
  readonly #range: FileRange;
  readonly #tar: RangeReader;
  readonly #budget: Budget;
  #at = 0;

  constructor(range: FileRange, tar: RangeReader, budget: Budget) {
    this.#range = range;
    this.#tar = tar;
    this.#budget = budget;
  }

  async *entries(): AsyncGenerator<TarEntry> {
    let extensions: Extensions = {};
    for (;;) {
      const block = await this.#block();
      if (isZero(block)) break;
      const headerAt = this.#at - BLOCK_BYTES;
      const header = decodeHeader(block);
      if (await this.#takeExtension(header, extensions)) continue;
      yield await this.#entry(header, headerAt, extensions);
      extensions = {};
    }
    if (Object.keys(extensions).length > 0) throw new ImageError("TAR_EXTENSION", "an extended header for no entry");
    await this.#end();
  }

  /** Two zero blocks end an archive. What follows is padding, or something that another reader might take for more. */
  async #end(): Promise<void> {
    if (!isZero(await this.#block())) throw new ImageError("TAR_TRAILING_BYTES", "more after the end of the archive");
    while (this.#at < this.#tar.sizeBytes) {
      const rest = await this.#tar.at(this.#at, 64 * 1024);
      if (rest.length === 0) throw truncated();
      if (!isZero(rest)) throw new ImageError("TAR_TRAILING_BYTES", "more after the end of the archive");
      this.#at += rest.length;
    }
  }

  async #block(): Promise<Buffer> {
    const block = await this.#tar.at(this.#at, BLOCK_BYTES);
    if (block.length < BLOCK_BYTES) throw truncated();
    this.#at += BLOCK_BYTES;
    return block;
  }

  /** @returns Whether the header was about the next entry and no entry itself. */
  async #takeExtension(header: TarHeader, extensions: Extensions): Promise<boolean> {
    const once = (known: unknown): void => {
      if (known !== undefined) throw new ImageError("TAR_EXTENSION", "two extended headers of a kind for one entry");
    };
    switch (header.type) {
      case "x":
        once(extensions.pax);
        extensions.pax = decodePax(await this.#extensionBytes(header));
        return true;
      case "L":
        once(extensions.longName);
        extensions.longName = untilNul(await this.#extensionBytes(header));
        return true;
      case "K":
        once(extensions.longLink);
        extensions.longLink = untilNul(await this.#extensionBytes(header));
        return true;
      case "g": {
        // git writes a comment here. Anything else would hold for all entries that follow, and few readers agree how.
        const { values, sparsePairs } = decodePax(await this.#extensionBytes(header));
        if (sparsePairs.length > 0 || [...values.keys()].some((key) => key !== "comment")) {
          throw new ImageError("TAR_EXTENSION", "a global PAX header is supported only for a comment");
        }
        return true;
      }
      default:
        return false;
    }
  }

  async #extensionBytes({ sizeBytes }: TarHeader): Promise<Buffer> {
    if (sizeBytes > MAX_EXTENSION_BYTES) {
      throw new ImageError("TAR_EXTENSION", `an extended header of ${sizeBytes} bytes, limit ${MAX_EXTENSION_BYTES}`);
    }
    const { from } = this.#takeData(sizeBytes);
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; ) {
      const piece = await this.#tar.at(from - this.#range.from + at, Math.min(sizeBytes - at, 64 * 1024));
      if (piece.length === 0) throw truncated();
      at += piece.copy(bytes, at);
    }
    return bytes;
  }

  async #entry(header: TarHeader, headerAt: number, extensions: Extensions): Promise<TarEntry> {
    const pax = extensions.pax ?? NO_RECORDS;
    const name = pax.values.get("GNU.sparse.name") ?? pax.values.get("path") ?? extensions.longName ?? header.name;
    const linkName = pax.values.get("linkpath") ?? extensions.longLink ?? header.linkName;
    this.#budget.takeEntry(name, linkName);
    const sizeBytes = paxNumber(pax, "size") ?? header.sizeBytes;
    const kind = kindOf(header.type, name);
    if (kind !== "file" && sizeBytes !== 0) {
      // Some writers put a size here and no data, others data: what comes next would be a guess.
      throw new ImageError("TAR_SIZE", `${shown(name)} is a ${kind} with a size of ${sizeBytes}`);
    }
    const { content, range } =
      kind === "file" ? await this.#content(header, headerAt, sizeBytes, pax) : { content: NOTHING, range: undefined };
    return {
      kind,
      name,
      linkName,
      mode: header.mode,
      uid: idOf(paxNumber(pax, "uid") ?? header.uid, name),
      gid: idOf(paxNumber(pax, "gid") ?? header.gid, name),
      device: { major: header.deviceMajor, minor: header.deviceMinor },
      content,
      range,
      xattrs: xattrsOf(pax),
    };
  }

  async #content(
    header: TarHeader,
    headerAt: number,
    sizeBytes: number,
    pax: PaxRecords,
  ): Promise<{ content: ByteSource; range: FileRange | undefined }> {
    const isGnuSparse = header.type === "S";
    const gnuMap = isGnuSparse ? await readGnuMap(this.#tar, headerAt) : undefined;
    // GNU's own map stands between header and data and is not counted in the size; format 1.0's is.
    this.#at += gnuMap?.mapBytes ?? 0;
    const dataAt = this.#at;
    const data = this.#takeData(sizeBytes);
    const map = gnuMap ?? (await readPaxMap(this.#tar, pax, data, dataAt));
    if (map === undefined) return { content: sourceOf(data), range: data };
    return { content: this.#expanded(map, data, isGnuSparse), range: undefined };
  }

  #expanded(map: SparseMap, data: FileRange, isGnuSparse: boolean): ByteSource {
    const skipped = isGnuSparse ? 0 : map.mapBytes;
    const stored = { ...data, from: data.from + skipped, sizeBytes: data.sizeBytes - skipped };
    checkMap(map, stored.sizeBytes);
    this.#budget.takeBytes(map.sizeBytes);
    this.#budget.takeSegments(map.segments.length);
    return expandedSource(map, stored);
  }

  /** Passes over an entry's data and its padding. */
  #takeData(sizeBytes: number): FileRange {
    const from = this.#at;
    const end = from + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (end > this.#tar.sizeBytes) throw truncated();
    this.#at = end;
    return { file: this.#range.file, from: this.#range.from + from, sizeBytes };
  }
}

function kindOf(type: string, name: string): TarKind {
  const kind = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (kind === undefined) {
    throw new ImageError("TAR_TYPE", `${shown(name)} has the unsupported type ${shown(type)}`);
  }
  // v7 has no type for folders: a "/" at the end says it.
  return type === "0" && name.endsWith("/") ? "directory" : kind;
}

function idOf(id: number, name: string): number {
  if (id > MAX_ID) throw new ImageError("OWNER_OUT_OF_RANGE", `${shown(name)} belongs to ${id}, which is over 32 bits`);
  return id;
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  // Cut before it is decoded: a slice of a string keeps all of the string in memory.
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

function truncated(): ImageError {
  return new ImageError("TAR_TRUNCATED", "the tar archive is cut off");
}
