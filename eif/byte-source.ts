/** Bytes that are read in order and are never all in memory. */
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { EifError } from "./errors.ts";

/** Large enough that a hash, not the calls around it, sets the pace. */
const CHUNK_BYTES = 1024 * 1024;

/** Opening a pipe that nobody writes to would wait for ever. Windows has no such flag. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Bytes that can be read more than once, in chunks; memory does not grow with size. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** A chunk is the reader's until it asks for the next one; then its memory may be written over. */
  chunks(): AsyncIterable<Uint8Array>;
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    async *chunks() {
      if (bytes.length > 0) yield bytes;
    },
  };
}

/** @throws {@link EifError} `FILE_UNREADABLE` */
export async function fileSource(path: string): Promise<ByteSource> {
  return (await openUnchanging(path)).range();
}

/** A file that is read in several goes and must be the same each time. */
export interface UnchangingFile {
  readonly path: string;
  readonly sizeBytes: number;
  /**
   * A part of it, the whole without arguments. The range is the caller's to have checked.
   *
   * @throws {@link EifError} while it is read: `FILE_CHANGED` where another file has taken its place or it was written to.
   */
  range(from?: number, sizeBytes?: number): ByteSource;
}

/**
 * Only a regular file: a device or a pipe has no size, or no end.
 *
 * @throws {@link EifError} `FILE_UNREADABLE`
 */
export async function openUnchanging(path: string): Promise<UnchangingFile> {
  const file = await readable(path, open(path, READ));
  const first = await file.stat({ bigint: true }).finally(() => file.close());
  if (!first.isFile()) throw new EifError("FILE_UNREADABLE", `${path} is not a regular file`);
  const size = Number(first.size);
  return {
    path,
    sizeBytes: size,
    range: (from = 0, sizeBytes = size - from) => ({
      sizeBytes,
      chunks: () => readRange(path, first, from, sizeBytes),
    }),
  };
}

/** Reads one chunk ahead, so that whoever hashes the present one does not wait for the next. */
async function* readRange(
  path: string,
  first: BigIntStats,
  from: number,
  sizeBytes: number,
): AsyncIterable<Uint8Array> {
  if (sizeBytes === 0) return;
  const file = await readable(path, open(path, READ));
  let ahead: Promise<number> | null = null;
  try {
    await checkSame(file, first, path);
    let [current, next] = [0, 1].map(() => new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes))) as [
      Uint8Array,
      Uint8Array,
    ];
    const read = async (buffer: Uint8Array, at: number): Promise<number> => {
      const length = Math.min(buffer.length, sizeBytes - at);
      const { bytesRead } = await file.read(buffer, 0, length, from + at);
      if (bytesRead === 0 && length > 0) throw changed(path);
      return bytesRead;
    };
    ahead = read(current, 0);
    for (let at = 0; at < sizeBytes; ) {
      const length = await ahead;
      ahead = read(next, at + length);
      yield current.subarray(0, length);
      at += length;
      [current, next] = [next, current];
    }
    await checkSame(file, first, path);
  } finally {
    await ahead?.catch(() => undefined);
    await file.close();
  }
}

async function checkSame(file: FileHandle, first: BigIntStats, path: string): Promise<void> {
  const now = await file.stat({ bigint: true });
  const same = (["dev", "ino", "size", "mtimeNs"] as const).every((field) => now[field] === first[field]);
  if (!same) throw changed(path);
}

function changed(path: string): EifError {
  return new EifError("FILE_CHANGED", `${path} was changed while it was read`);
}

async function readable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new EifError("FILE_UNREADABLE", `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
