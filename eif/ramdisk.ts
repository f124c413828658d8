/** What is in a ramdisk, streamed: neither the archive nor a file of it is ever in memory, whatever it unpacks to. */
import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { ByteSource } from "./byte-source.ts";
import { ByteStream } from "./byte-stream.ts";
import { type CpioEntry, readCpio } from "./cpio.ts";
import { EifError } from "./errors.ts";
import { RamdiskAllowance, type RamdiskLimits } from "./ramdisk-allowance.ts";
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
 * @param limits - An allowance, from a caller that keeps more than names and takes it from the same.
 * @throws {@link EifError} `RAMDISK_COMPRESSION_UNSUPPORTED`, `RAMDISK_CORRUPT`, `RAMDISK_MALFORMED`,
 * `RAMDISK_TRUNCATED`, `RAMDISK_TOO_LARGE`
 */
export async function* ramdiskEntries(
  source: ByteSource,
  limits: RamdiskLimits | RamdiskAllowance = {},
): AsyncGenerator<CpioEntry> {
  const allowance = limits instanceof RamdiskAllowance ? limits : new RamdiskAllowance(source.sizeBytes, limits);
  const stream = new ByteStream(source.chunks());
  try {
    for await (const entry of archives(stream, allowance)) {
      allowance.takeEntry();
      allowance.takeName(entry.name.length);
      yield entry;
    }
  } finally {
    await stream.close();
  }
}

async function* archives(stream: ByteStream, allowance: RamdiskAllowance): AsyncGenerator<CpioEntry> {
  for (;;) {
    await stream.skipZeros();
    const magic = await stream.peek(MAGIC_BYTES);
    if (magic.length === 0) return;
    allowance.takeArchive();
    const compression = compressionOfMagic(magic);
    switch (compression) {
      case "none":
        yield* readCpio(stream);
        break;
      case "zstd": {
        const frame = zstdFrame(stream, () => allowance.takeBlock());
        yield* unpacked(through(frame, createZstdDecompress()), allowance);
        break;
      }
      case "gzip":
        yield* gunzipped(stream, allowance);
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

/**
 * Members that follow are Node's to find, at no cost to speak of. It is given the rest of the stream, and stops without a
 * word at zeros: what stands behind them is put back, or it would be hidden. Where a chunk ends between, it finds fault.
 */
async function* gunzipped(stream: ByteStream, allowance: RamdiskAllowance): AsyncGenerator<CpioEntry> {
  const gunzip = createGunzip();
  let given = 0;
  let held: { readonly piece: Uint8Array; readonly end: number }[] = [];
  const isUnread = ({ end }: { readonly end: number }) => end > gunzip.bytesWritten;
  const rest = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of stream.pieces(Number.MAX_SAFE_INTEGER)) {
      const copy = piece.slice();
      given += copy.length;
      held = [...held.filter(isUnread), { piece: copy, end: given }];
      yield copy;
    }
  };
  yield* unpacked(through(rest(), gunzip), allowance);
  const unread = held.filter(isUnread);
  const bytes = Buffer.concat(unread.map(({ piece }) => piece));
  stream.putBack(new Uint8Array(bytes.subarray(bytes.length - (given - gunzip.bytesWritten))));
}

/** Compressed data holds archives, and no further compressed data: the kernel would not unpack that either. */
async function* unpacked(chunks: AsyncIterable<Uint8Array>, allowance: RamdiskAllowance): AsyncGenerator<CpioEntry> {
  const stream = new ByteStream(within(chunks, allowance));
  try {
    for (;;) {
      await stream.skipZeros();
      if (await stream.isAtEnd()) return;
      allowance.takeArchive();
      yield* readCpio(stream);
    }
  } finally {
    await stream.close();
  }
}

async function* within(chunks: AsyncIterable<Uint8Array>, allowance: RamdiskAllowance): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    allowance.takeUnpacked(chunk.length);
    yield chunk;
  }
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
