/** Bytes that are read in order and are never all in memory. */
import { open, stat } from "node:fs/promises";
import { EifError } from "./errors.ts";

/** Large enough that a hash, not the calls around it, sets the pace. */
const CHUNK_BYTES = 1024 * 1024;

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
  const found = await readable(path, stat(path));
  if (!found.isFile()) throw new EifError("FILE_UNREADABLE", `${path} is not a regular file`);
  return fileRangeSource(path, 0, found.size);
}

/**
 * Part of a file. The range is the caller's to have checked.
 *
 * @throws {@link EifError} while it is read: `FILE_CHANGED` for a file that has become shorter.
 */
export function fileRangeSource(path: string, from: number, sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    async *chunks() {
      const file = await readable(path, open(path));
      try {
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes));
        for (let at = 0; at < sizeBytes; ) {
          const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, sizeBytes - at), from + at);
          if (bytesRead === 0) throw new EifError("FILE_CHANGED", `${path} ended at ${from + at} while it was read`);
          yield buffer.subarray(0, bytesRead);
          at += bytesRead;
        }
      } finally {
        await file.close();
      }
    },
  };
}

async function readable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new EifError("FILE_UNREADABLE", `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
