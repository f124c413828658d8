/** Compresses a ramdisk, so that the same bytes in give the same bytes out. */
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";
import { BuildError } from "../build-errors.ts";
import { type ByteSource, fileSource } from "../byte-source.ts";
import { rechunk } from "./rechunk.ts";

/** Another version finds other matches and gives other bytes: PCRs would change with the Node that happens to build. */
export const ZSTD_VERSION = "1.5.7";
export const ZSTD_LEVEL = 19;

/** The kernel looks for the next archive at a multiple of four, and skips zeros up to there. */
const ALIGNMENT = 4;
/** One block of zstd. */
const INPUT_BYTES = 128 * 1024;

/** @throws {@link BuildError} `ZSTD_VERSION` */
export function requirePinnedZstd(version: string | undefined = process.versions["zstd"]): void {
  if (version === ZSTD_VERSION) return;
  const has = version === undefined ? "has no zstd" : `has zstd ${version}`;
  throw new BuildError(
    "ZSTD_VERSION",
    `this Node ${has}; images are compressed by ${ZSTD_VERSION}, since another version gives other PCRs. ` +
      "Use the Node of package-lock.json (npm scripts do), or --compress none",
  );
}

/** One thread, level 19, no checksum and no size in the frame: the kernel asks for neither. */
export async function compressTo(path: string, source: ByteSource, signal: AbortSignal): Promise<ByteSource> {
  requirePinnedZstd();
  let written = 0;
  async function* counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      written += chunk.length;
      yield chunk;
    }
    const padding = (ALIGNMENT - (written % ALIGNMENT)) % ALIGNMENT;
    if (padding > 0) yield Buffer.alloc(padding);
  }
  const compressor = zlib.createZstdCompress({
    params: { [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
  });
  const feeding = feed(compressor, source, signal);
  const draining = pipeline(compressor, counted, createWriteStream(path, { flags: "wx", mode: 0o600 }), { signal });
  await Promise.all([feeding, draining]);
  return fileSource(path);
}

/**
 * zstd looks at how its input is cut when the end comes: the last piece, given together with "end", is compressed another
 * way. So pieces are always of one size, each is done before the next is given, and the end comes alone.
 */
async function feed(compressor: zlib.ZstdCompress, source: ByteSource, signal: AbortSignal): Promise<void> {
  try {
    for await (const piece of rechunk(source.chunks(), INPUT_BYTES)) {
      signal.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const onClose = (): void => reject(new Error("the compressor was closed"));
        compressor.once("close", onClose);
        compressor.write(piece, (error) => {
          compressor.off("close", onClose);
          if (error) reject(error);
          else resolve();
        });
      });
    }
    compressor.end();
  } catch (error) {
    compressor.destroy(error as Error);
    throw error;
  }
}
