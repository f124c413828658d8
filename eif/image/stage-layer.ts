/** Makes of a layer, as it is stored, a tar archive whose every byte was verified. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Budget } from "./budget.ts";
import { ImageError } from "./errors.ts";
import { type FileRange, sourceOf, wholeFile } from "./file-range.ts";
import { splitZstdFrames } from "./zstd-frames.ts";

export type LayerCompression = "none" | "gzip" | "zstd";

export interface StoredLayer {
  readonly range: FileRange;
  /** Of the bytes as they are stored; docker's older archives do not say it. */
  readonly digest: string | undefined;
  /** Of the unpacked tar archive. */
  readonly diffId: string;
}

/**
 * @param stagedPath - A new file there takes the unpacked layer, if it is compressed.
 * @throws {@link ImageError} `DIGEST_MISMATCH`, `COMPRESSED_DATA_MALFORMED`, `COMPRESSION_RATIO`, `IMAGE_TOO_LARGE`
 */
export async function stageLayer(
  layer: StoredLayer,
  stagedPath: string,
  budget: Budget,
  signal: AbortSignal,
): Promise<FileRange> {
  const compression = await compressionOf(layer.range);
  if (compression === "none") {
    budget.takeBytes(layer.range.sizeBytes);
    const digest = await digestOf(layer.range, signal);
    expectDigest(layer.digest ?? digest, digest, "a layer");
    expectDigest(layer.diffId, digest, "a layer");
    return layer.range;
  }
  const { stored, unpacked, range } = await unpack(layer.range, compression, stagedPath, budget, signal);
  expectDigest(layer.digest ?? stored, stored, "a layer as it is stored");
  expectDigest(layer.diffId, unpacked, "a layer when unpacked");
  return range;
}

/** By its first bytes: docker's archives have no media types, and the digests decide in the end. */
export async function compressionOf(range: FileRange): Promise<LayerCompression> {
  for await (const chunk of sourceOf({ ...range, sizeBytes: Math.min(4, range.sizeBytes) }).chunks()) {
    const magic = Buffer.from(chunk).toString("hex");
    if (magic.startsWith("1f8b")) return "gzip";
    // A frame, or one of the skippable ones with which zstd:chunked may begin.
    if (magic === "28b52ffd" || /^5[0-9a-f]2a4d18$/.test(magic)) return "zstd";
  }
  return "none";
}

export async function digestOf(range: FileRange, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of sourceOf(range).chunks()) {
    signal.throwIfAborted();
    hash.update(chunk);
  }
  return `sha256:${hash.digest("hex")}`;
}

/** @throws {@link ImageError} `DIGEST_MISMATCH` */
export function expectDigest(expected: string, got: string, what: string): void {
  if (got !== expected) throw new ImageError("DIGEST_MISMATCH", `${what} has the digest ${got}, expected ${expected}`);
}

interface Unpacked {
  readonly stored: string;
  readonly unpacked: string;
  readonly range: FileRange;
}

export async function unpack(
  range: FileRange,
  compression: "gzip" | "zstd",
  toPath: string,
  budget: Budget,
  signal: AbortSignal,
): Promise<Unpacked> {
  const storedHash = createHash("sha256");
  const unpackedHash = createHash("sha256");
  const { maxRatio, ratioFromBytes } = budget.limits;
  const maxBytes = Math.max(ratioFromBytes, maxRatio * range.sizeBytes);
  let sizeBytes = 0;

  async function* stored(): AsyncGenerator<Buffer> {
    for await (const chunk of sourceOf(range).chunks()) {
      storedHash.update(chunk);
      // The stream may hold on to a chunk after asking for the next.
      yield Buffer.from(chunk);
    }
  }
  async function* counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) {
        throw new ImageError(
          "COMPRESSION_RATIO",
          `a layer of ${range.sizeBytes} bytes unpacks to more than ${maxBytes}`,
        );
      }
      budget.takeBytes(chunk.length);
      unpackedHash.update(chunk);
      yield chunk;
    }
  }

  const frames = Readable.from(compression === "gzip" ? stored() : splitZstdFrames(stored()), { highWaterMark: 1 });
  const decompressor = compression === "gzip" ? createGunzip() : createZstdDecompress();
  try {
    await pipeline(frames, decompressor, counted, createWriteStream(toPath, { flags: "wx", mode: 0o600 }), { signal });
  } catch (cause) {
    throw isZlibError(cause)
      ? new ImageError("COMPRESSED_DATA_MALFORMED", `a layer does not unpack: ${cause.message}`, { cause })
      : cause;
  }
  return {
    stored: `sha256:${storedHash.digest("hex")}`,
    unpacked: `sha256:${unpackedHash.digest("hex")}`,
    range: await wholeFile(toPath, { follow: false }),
  };
}

function isZlibError(error: unknown): error is Error {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && (code.startsWith("Z_") || code.startsWith("ZSTD_"));
}
