/**
 * Sparse files: GNU tar's own format (type "S") and its three PAX formats 0.0, 0.1 and 1.0 (GNU tar manual, appendix
 * "Storing Sparse Files"). They are expanded: a cpio has no holes.
 */
import type { ByteSource } from "../byte-source.ts";
import { ImageError } from "./errors.ts";
import { type FileRange, type RangeReader, sourceOf } from "./file-range.ts";
import type { PaxRecords } from "./pax.ts";
import { paxNumber } from "./pax.ts";
import { BLOCK_BYTES, numberAt } from "./tar-header.ts";

export interface Segment {
  readonly at: number;
  readonly sizeBytes: number;
}

export interface SparseMap {
  readonly sizeBytes: number;
  readonly segments: readonly Segment[];
  /** The map's own length where it stands before the data; a multiple of 512. */
  readonly mapBytes: number;
}

/** A map costs memory before any of its data was seen. */
const MAX_SEGMENTS = 65_536;

function refuse(why: string): never {
  throw new ImageError("TAR_SPARSE", `a sparse file is malformed: ${why}`);
}

/** GNU's own: four segments in the header, 21 in each block that follows while the one before says so. */
export async function readGnuMap(tar: RangeReader, headerAt: number): Promise<SparseMap> {
  const header = Buffer.from(await tar.at(headerAt, BLOCK_BYTES));
  const sizeBytes = numberAt(header, 483, 12, "realsize");
  const segments = segmentsAt(header, 386, 4);
  let isExtended = header[482] !== 0;
  let mapBytes = 0;
  while (isExtended) {
    mapBytes += BLOCK_BYTES;
    const block = await tar.at(headerAt + mapBytes, BLOCK_BYTES);
    if (block.length < BLOCK_BYTES) throw new ImageError("TAR_TRUNCATED", "a sparse file's map is cut off");
    segments.push(...segmentsAt(block, 0, 21));
    if (segments.length > MAX_SEGMENTS) refuse(`more than ${MAX_SEGMENTS} segments`);
    isExtended = block[504] !== 0;
  }
  return { sizeBytes, segments, mapBytes };
}

function segmentsAt(block: Buffer, from: number, count: number): Segment[] {
  const segments: Segment[] = [];
  for (let at = from; at < from + count * 24; at += 24) {
    // An unused slot is all zero; a used one may end the file with a segment of no bytes.
    if (block[at] === 0 && block[at + 12] === 0) break;
    segments.push({
      at: numberAt(block, at, 12, "sparse offset"),
      sizeBytes: numberAt(block, at + 12, 12, "sparse size"),
    });
  }
  return segments;
}

/** @returns `undefined` where the records describe no sparse file. */
export async function readPaxMap(
  tar: RangeReader,
  records: PaxRecords,
  data: FileRange,
  dataAt: number,
): Promise<SparseMap | undefined> {
  if (records.values.has("SCHILY.realsize")) refuse("star's own sparse format is not supported");
  const major = paxNumber(records, "GNU.sparse.major");
  if (major === 1 && paxNumber(records, "GNU.sparse.minor") === 0) {
    const { segments, mapBytes } = await readMapBeforeData(tar, dataAt, data.sizeBytes);
    return { sizeBytes: needed(records, "GNU.sparse.realsize"), segments, mapBytes };
  }
  if (major !== undefined) refuse(`an unknown version, ${major}`);
  const map = records.values.get("GNU.sparse.map");
  const pairs = map === undefined ? records.sparsePairs : map.split(",");
  if (pairs.length > 0) {
    return { sizeBytes: needed(records, "GNU.sparse.size"), segments: segmentsOf(pairs), mapBytes: 0 };
  }
  if ([...records.values.keys()].some((key) => key.startsWith("GNU.sparse."))) {
    // A file that is one hole: format 0 gives its size, and no segment.
    return { sizeBytes: needed(records, "GNU.sparse.size"), segments: [], mapBytes: 0 };
  }
  return undefined;
}

/** Format 1.0: decimal lines before the data, the number of segments first, padded to whole blocks. */
async function readMapBeforeData(
  tar: RangeReader,
  dataAt: number,
  dataBytes: number,
): Promise<{ segments: Segment[]; mapBytes: number }> {
  const numbers: string[] = [];
  let line = "";
  let wanted = 1;
  let mapBytes = 0;
  while (numbers.length < wanted) {
    if (mapBytes + BLOCK_BYTES > dataBytes) refuse("its map has no end");
    for (const byte of await tar.at(dataAt + mapBytes, BLOCK_BYTES)) {
      if (numbers.length === wanted) break;
      if (byte !== 0x0a) {
        line += String.fromCharCode(byte);
        if (line.length > 16) refuse("a number that has no end");
        continue;
      }
      numbers.push(line);
      line = "";
      if (numbers.length === 1) wanted = 1 + 2 * decimal(numbers[0] ?? "");
      if (wanted > 1 + 2 * MAX_SEGMENTS) refuse(`more than ${MAX_SEGMENTS} segments`);
    }
    mapBytes += BLOCK_BYTES;
  }
  return { segments: segmentsOf(numbers.slice(1)), mapBytes };
}

function segmentsOf(pairs: readonly string[]): Segment[] {
  if (pairs.length % 2 !== 0) refuse("an offset without a size");
  if (pairs.length > 2 * MAX_SEGMENTS) refuse(`more than ${MAX_SEGMENTS} segments`);
  const segments: Segment[] = [];
  for (let index = 0; index < pairs.length; index += 2) {
    segments.push({ at: decimal(pairs[index] ?? ""), sizeBytes: decimal(pairs[index + 1] ?? "") });
  }
  return segments;
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(value)) refuse("a number out of range");
  return value;
}

function needed(records: PaxRecords, key: string): number {
  return paxNumber(records, key) ?? refuse(`no ${key}`);
}

/**
 * Holds a map against the data that is there: segments in order, apart, inside the file, and exactly all the data.
 *
 * @throws {@link ImageError} `TAR_SPARSE`
 */
export function checkMap({ segments, sizeBytes }: SparseMap, storedBytes: number): void {
  let end = 0;
  let stored = 0;
  for (const segment of segments) {
    if (segment.at < end) refuse("segments overlap or are out of order");
    end = segment.at + segment.sizeBytes;
    stored += segment.sizeBytes;
  }
  if (end > sizeBytes) refuse("a segment beyond its end");
  if (stored !== storedBytes) refuse(`segments of ${stored} bytes for ${storedBytes} bytes of data`);
}

const ZEROS = new Uint8Array(256 * 1024);

/** The file with its holes filled. */
export function expandedSource({ segments, sizeBytes }: SparseMap, data: FileRange): ByteSource {
  return {
    sizeBytes,
    async *chunks() {
      let at = 0;
      let from = data.from;
      for (const segment of segments) {
        yield* zeros(segment.at - at);
        yield* sourceOf({ file: data.file, from, sizeBytes: segment.sizeBytes }).chunks();
        from += segment.sizeBytes;
        at = segment.at + segment.sizeBytes;
      }
      yield* zeros(sizeBytes - at);
    },
  };
}

function* zeros(count: number): Iterable<Uint8Array> {
  for (let left = count; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}
