/**
 * Where one Zstandard frame ends (RFC 8878 section 3.1.1), found by its block headers without unpacking. Node's
 * decompressor passes over what follows the first frame, and takes a frame that was cut for a whole one.
 */
import type { ByteStream } from "./byte-stream.ts";
import { EifError } from "./errors.ts";

const MAGIC = 0xfd2fb528;
/** A skippable frame's magic: the last digit is anything. */
const SKIPPABLE = 0x184d2a50;

/**
 * The bytes of the frame that begins here, as copies: a stream that buffers may hold several.
 *
 * @param onBlock - Called before each block is read; what it throws ends the reading.
 */
export async function* zstdFrame(stream: ByteStream, onBlock?: () => void): AsyncGenerator<Uint8Array> {
  const magic = await take(stream, 4);
  if ((u32(magic) & 0xfffffff0) >>> 0 === SKIPPABLE) {
    yield* copies(stream, u32(await take(stream, 4)));
    return;
  }
  if (u32(magic) !== MAGIC) throw corrupt("a frame");
  const descriptor = await take(stream, 1);
  const [flags = 0] = descriptor;
  yield magic;
  yield descriptor;
  yield await take(stream, headerBytes(flags));
  for (let isLast = false; !isLast; ) {
    onBlock?.();
    const header = await take(stream, 3);
    const [a = 0, b = 0, c = 0] = header;
    const value = a | (b << 8) | (c << 16);
    isLast = (value & 1) === 1;
    const type = (value >> 1) & 3;
    if (type === 3) throw corrupt("a block");
    yield header;
    // An RLE block has one byte, however many it stands for.
    yield* copies(stream, type === 1 ? 1 : value >> 3);
  }
  const hasChecksum = (flags & 4) !== 0;
  if (hasChecksum) yield await take(stream, 4);
}

/** Window descriptor, dictionary id and content size: which of them follow, and how long, stands in the flags. */
function headerBytes(flags: number): number {
  const isSingleSegment = (flags & 0x20) !== 0;
  const dictionaryId = [0, 1, 2, 4][flags & 3] ?? 0;
  const contentSize = [isSingleSegment ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  return (isSingleSegment ? 0 : 1) + dictionaryId + contentSize;
}

async function take(stream: ByteStream, length: number): Promise<Uint8Array> {
  const bytes = await stream.take(length);
  if (bytes.length < length) throw cut();
  return bytes;
}

async function* copies(stream: ByteStream, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const piece of stream.pieces(length)) {
    left -= piece.length;
    yield piece.slice();
  }
  if (left > 0) throw cut();
}

function u32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}

function corrupt(expected: string): EifError {
  return new EifError(
    "RAMDISK_CORRUPT",
    `the Zstandard data has no ${expected.replace("a ", "")} where one was expected`,
  );
}

function cut(): EifError {
  return new EifError("RAMDISK_TRUNCATED", "the ramdisk ends inside a Zstandard frame");
}
