/**
 * Cuts a zstd stream where its frames end (RFC 8878, 3.1). Layers in podman's "zstd:chunked" form are many frames, and
 * Node's decompressor drops what follows a frame in the same chunk. Skippable frames are left out.
 */
import { ImageError } from "./errors.ts";

const FRAME_MAGIC = 0xfd2f_b528;
const MAGIC_BYTES = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
/** 0x184D2A50 to 0x184D2A5F. */
const SKIPPABLE_MAGIC = 0x184d_2a50;

function malformed(why: string): ImageError {
  return new ImageError("COMPRESSED_DATA_MALFORMED", `a zstd stream is malformed: ${why}`);
}

/** Chunks that never reach over the end of a frame. */
export async function* splitZstdFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const walk = new FrameWalk();
  for await (const chunk of source) {
    let pieces: Uint8Array[] = [];
    for (let at = 0; at < chunk.length; ) {
      const { taken, kept } = walk.take(chunk, at);
      at += taken;
      if (kept !== undefined) pieces.push(kept);
      if (pieces.length > 0 && (walk.isBetweenFrames || at === chunk.length)) {
        yield Buffer.concat(pieces);
        pieces = [];
      }
    }
  }
  if (!walk.isBetweenFrames) throw malformed("it is cut off");
}

type Part = "magic" | "skip-size" | "skip" | "descriptor" | "header" | "block-header" | "block" | "checksum";

/** Parts whose value says what comes next: four bytes at most. */
const NUMBERS: ReadonlySet<Part> = new Set(["magic", "skip-size", "descriptor", "block-header"]);

/** Follows the frame's parts without decoding any. */
class FrameWalk {
  #part: Part = "magic";
  #left = 4;
  #bytes: number[] = [];
  #hasChecksum = false;
  #isLastBlock = false;

  get isBetweenFrames(): boolean {
    return this.#part === "magic" && this.#left === 4;
  }

  /** Takes bytes of one part. A magic number is kept once it has turned out to be a frame's. */
  take(chunk: Uint8Array, at: number): { readonly taken: number; readonly kept: Uint8Array | undefined } {
    const part = this.#part;
    const piece = chunk.subarray(at, at + this.#left);
    if (NUMBERS.has(part)) this.#bytes.push(...piece);
    this.#left -= piece.length;
    if (this.#left === 0) {
      const value = this.#bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
      this.#bytes = [];
      [this.#part, this.#left] = this.#after(value);
    }
    if (part === "skip" || part === "skip-size") return { taken: piece.length, kept: undefined };
    if (part !== "magic") return { taken: piece.length, kept: piece };
    return { taken: piece.length, kept: this.#part === "descriptor" ? MAGIC_BYTES : undefined };
  }

  /** @returns The part that follows the one that ends here, and its length. */
  #after(value: number): readonly [Part, number] {
    switch (this.#part) {
      case "magic":
        if (value === FRAME_MAGIC) return ["descriptor", 1];
        if (value >= SKIPPABLE_MAGIC && value <= SKIPPABLE_MAGIC + 15) return ["skip-size", 4];
        throw malformed("no frame begins where one ended");
      case "skip-size":
        return value === 0 ? ["magic", 4] : ["skip", value];
      case "descriptor":
        return ["header", this.#headerBytes(value)];
      case "header":
        return ["block-header", 3];
      case "block-header":
        return this.#afterBlockHeader(value);
      case "block":
        return this.#afterBlock();
      case "skip":
      case "checksum":
        return ["magic", 4];
    }
  }

  /** RFC 8878, 3.1.1.1.1: single segment, dictionary id and content size make the header's length. */
  #headerBytes(descriptor: number): number {
    const isSingleSegment = (descriptor & 0x20) !== 0;
    this.#hasChecksum = (descriptor & 0x04) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    // Window descriptor or content size: one of them is always there.
    return (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
  }

  /** 3.1.1.2: last, type, size. A run-length block holds one byte whatever its size. */
  #afterBlockHeader(header: number): readonly [Part, number] {
    this.#isLastBlock = (header & 1) === 1;
    const type = (header >> 1) & 3;
    if (type === 3) throw malformed("a block of the reserved type");
    const bytes = type === 1 ? 1 : header >> 3;
    return bytes === 0 ? this.#afterBlock() : ["block", bytes];
  }

  #afterBlock(): readonly [Part, number] {
    if (!this.#isLastBlock) return ["block-header", 3];
    return this.#hasChecksum ? ["checksum", 4] : ["magic", 4];
  }
}
