/** What is in a ramdisk, streamed: neither the archive nor a file of it is ever in memory, whatever it unpacks to. */
import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { ByteSource } from "./byte-source.ts";
import { ByteStream } from "./byte-stream.ts";
import { type CpioEntry, readCpio } from "./cpio.ts";
import { EifError } from "./errors.ts";
import { zstdFrame } from "./zstd-frame.ts";

export type RamdiskCompression = "none" | "gzip" | "zstd" | "xz" | "lz4" | "bzip2" | "lzma" | "lzo" | "unknown";

/** The magics that the kernel goes by (lib/decompress.c). */
const MAGICS: readonly (readonly [RamdiskCompression, readonly number[]])[] = [
  ["none", [0x30, 0x37, 0x30, 0x37, 0x30]],
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37]],
  ["lz4", [0x02, 0x21]],
  ["bzip2", [0x42, 0x5a]],
  ["lzma", [0x5d, 0x00]],
  ["lzo", [0x89, 0x4c]],
];
const MAGIC_BYTES = 5;

/** What unpacks to more is made to waste a reader's time: file systems of programs shrink to a fifth, not a hundredth. */
const MAX_RATIO = 200;
const ALWAYS_ALLOWED_BYTES = 64 * 1024 ** 2;
const MAX_ENTRIES = 1_000_000;

export interface RamdiskLimits {
  /** Of compressed data; {@link MAX_RATIO} times its size where it is not given. */
  readonly maxUnpackedBytes?: number;
  readonly maxEntries?: number;
}

export async function compressionOf(source: ByteSource): Promise<RamdiskCompression> {
  const stream = new ByteStream(source.chunks());
  try {
    return compressionOfMagic(await stream.peek(MAGIC_BYTES));
  } finally {
    await stream.close();
  }
}

function compressionOfMagic(bytes: Uint8Array): RamdiskCompression {
  return MAGICS.find(([, magic]) => magic.every((byte, at) => bytes[at] === byte))?.[0] ?? "unknown";
}

/**
 * Every entry, in the order in which the kernel unpacks them. As it does, this goes on after a trailer: another archive,
 * raw or compressed, may follow there, and hide from a reader that stops.
 *
 * @throws {@link EifError} `RAMDISK_COMPRESSION_UNSUPPORTED`, `RAMDISK_CORRUPT`, `RAMDISK_MALFORMED`,
 * `RAMDISK_TRUNCATED`, `RAMDISK_TOO_LARGE`
 */
export async function* ramdiskEntries(source: ByteSource, limits: RamdiskLimits = {}): AsyncGenerator<CpioEntry> {
  const { maxUnpackedBytes = ALWAYS_ALLOWED_BYTES + MAX_RATIO * source.sizeBytes, maxEntries = MAX_ENTRIES } = limits;
  let entries = 0;
  const stream = new ByteStream(source.chunks());
  try {
    for await (const entry of archives(stream, { left: maxUnpackedBytes })) {
      entries += 1;
      if (entries > maxEntries) throw tooLarge(`${maxEntries} entries`);
      yield entry;
    }
  } finally {
    await stream.close();
  }
}

async function* archives(stream: ByteStream, budget: { left: number }): AsyncGenerator<CpioEntry> {
  for (;;) {
    await stream.skipZeros();
    const magic = await stream.peek(MAGIC_BYTES);
    if (magic.length === 0) return;
    const compression = compressionOfMagic(magic);
    switch (compression) {
      case "none":
        yield* readCpio(stream);
        break;
      case "zstd":
        yield* unpacked(through(zstdFrame(stream), createZstdDecompress()), budget);
        break;
      case "gzip":
        // Members that follow are Node's to find; it takes the rest of the stream.
        yield* unpacked(through(rest(stream), createGunzip()), budget);
        break;
      default:
        throw new EifError(
          "RAMDISK_COMPRESSION_UNSUPPORTED",
          compression === "unknown"
            ? "the ramdisk is no cpio archive, nor compressed in a way that is known"
            : `the ramdisk is compressed with ${compression}; gzip, zstd and none can be read`,
        );
    }
  }
}

/** Compressed data holds archives, and no further compressed data: the kernel would not unpack that either. */
async function* unpacked(chunks: AsyncIterable<Uint8Array>, budget: { left: number }): AsyncGenerator<CpioEntry> {
  const stream = new ByteStream(within(chunks, budget));
  try {
    for (;;) {
      await stream.skipZeros();
      if (await stream.isAtEnd()) return;
      yield* readCpio(stream);
    }
  } finally {
    await stream.close();
  }
}

async function* within(chunks: AsyncIterable<Uint8Array>, budget: { left: number }): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    budget.left -= chunk.length;
    if (budget.left < 0) throw tooLarge("its size allows for");
    yield chunk;
  }
}

async function* rest(stream: ByteStream): AsyncGenerator<Uint8Array> {
  for await (const piece of stream.pieces(Number.MAX_SAFE_INTEGER)) yield piece.slice();
}

async function* through(input: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array> {
  const work = pipeline(Readable.from(input), transform);
  // Awaited below; until then it must not count as unhandled.
  work.catch(() => undefined);
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
    await work;
  } catch (cause) {
    if (cause instanceof EifError) throw cause;
    throw new EifError("RAMDISK_CORRUPT", `the ramdisk cannot be decompressed: ${(cause as Error).message}`, { cause });
  } finally {
    transform.destroy();
  }
}

function tooLarge(what: string): EifError {
  return new EifError("RAMDISK_TOO_LARGE", `the ramdisk unpacks to more than ${what}`);
}
