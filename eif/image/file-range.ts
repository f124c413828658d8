/** Part of a file that stays where it is: a layer in an archive, a file in a layer. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type ByteSource, openUnchanging, type UnchangingFile } from "../byte-source.ts";
import { ImageError } from "./errors.ts";

export interface FileRange {
  /** Refuses to be read once it is another than the one whose digest was verified. */
  readonly file: UnchangingFile;
  readonly from: number;
  readonly sizeBytes: number;
}

export function sourceOf({ file, from, sizeBytes }: FileRange): ByteSource {
  return file.range(from, sizeBytes);
}

/**
 * A whole file, never through a symbolic link where `follow` is false: what stands in a layout's folder was chosen by
 * whoever made the image.
 *
 * @throws {@link ImageError} `UNREADABLE`
 */
export async function wholeFile(path: string, { follow }: { readonly follow: boolean }): Promise<FileRange> {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer that never comes.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (follow ? 0 : constants.O_NOFOLLOW);
  const file = await readable(path, open(path, flags));
  try {
    const found = await readable(path, file.stat());
    if (!found.isFile()) throw new ImageError("UNREADABLE", `${path} is not a regular file`);
  } finally {
    await file.close();
  }
  return rangeOf(await openUnchanging(path));
}

function rangeOf(file: UnchangingFile): FileRange {
  return { file, from: 0, sizeBytes: file.sizeBytes };
}

/** @throws {@link ImageError} `IMAGE_TOO_LARGE` before anything is read. */
export async function readWhole(range: FileRange, maxBytes: number, what: string): Promise<Uint8Array> {
  if (range.sizeBytes > maxBytes) {
    throw new ImageError("IMAGE_TOO_LARGE", `${what} has ${range.sizeBytes} bytes, limit ${maxBytes}`);
  }
  const bytes = new Uint8Array(range.sizeBytes);
  let at = 0;
  for await (const chunk of sourceOf(range).chunks()) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Reads here and there in a range, with one window of it in memory. */
export class RangeReader {
  readonly #range: FileRange;
  readonly #file: FileHandle;
  readonly #window = Buffer.alloc(64 * 1024);
  #windowFrom = 0;
  #windowBytes = 0;

  private constructor(range: FileRange, file: FileHandle) {
    this.#range = range;
    this.#file = file;
  }

  static async open(range: FileRange): Promise<RangeReader> {
    return new RangeReader(range, await readable(range.file.path, open(range.file.path)));
  }

  get sizeBytes(): number {
    return this.#range.sizeBytes;
  }

  /** Bytes that are good until the next call; fewer than asked for at the end. At most 64 KiB. */
  async at(from: number, length: number): Promise<Buffer> {
    const wanted = Math.min(length, Math.max(0, this.sizeBytes - from));
    if (from < this.#windowFrom || from + wanted > this.#windowFrom + this.#windowBytes) await this.#fill(from);
    const start = from - this.#windowFrom;
    return this.#window.subarray(start, Math.min(start + wanted, this.#windowBytes));
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #fill(from: number): Promise<void> {
    this.#windowFrom = from;
    this.#windowBytes = 0;
    const wanted = Math.min(this.#window.length, this.sizeBytes - from);
    while (this.#windowBytes < wanted) {
      const { bytesRead } = await this.#file.read(
        this.#window,
        this.#windowBytes,
        wanted - this.#windowBytes,
        this.#range.from + from + this.#windowBytes,
      );
      if (bytesRead === 0) break;
      this.#windowBytes += bytesRead;
    }
  }
}

async function readable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new ImageError("UNREADABLE", `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
