/** One 512-byte header of a tar archive: v7, ustar (POSIX 1988), GNU and star. */
import { ImageError } from "./errors.ts";

export const BLOCK_BYTES = 512;

export interface TarHeader {
  /** One character; "\0" and "7" have become "0". */
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/**
 * Times are not read: every entry gets the same.
 *
 * @throws {@link ImageError} `TAR_CHECKSUM`, `TAR_NUMBER`
 */
export function decodeHeader(block: Buffer): TarHeader {
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 265);
  const isPosix = magic.startsWith("ustar\0");
  const isGnu = magic === "ustar  \0";
  const type = block.toString("latin1", 156, 157);
  const hasDevice = type === "3" || type === "4";
  return {
    type: type === "\0" || type === "7" ? "0" : type,
    name: (isPosix ? prefixOf(block) : "") + textAt(block, 0, 100),
    linkName: textAt(block, 157, 100),
    // Bits above are the file's type, as some archivers repeat it.
    mode: numberAt(block, 100, 8, "mode") & 0o7777,
    uid: numberAt(block, 108, 8, "uid"),
    gid: numberAt(block, 116, 8, "gid"),
    sizeBytes: numberAt(block, 124, 12, "size"),
    // v7 has no such fields, and archivers leave anything there in entries that are no devices.
    deviceMajor: hasDevice && (isPosix || isGnu) ? numberAt(block, 329, 8, "devmajor") : 0,
    deviceMinor: hasDevice && (isPosix || isGnu) ? numberAt(block, 337, 8, "devminor") : 0,
  };
}

/** star keeps times in the last 24 bytes of the prefix and says so at the block's end. */
function prefixOf(block: Buffer): string {
  const isStar = block.toString("latin1", 508, 512) === "tar\0";
  const prefix = textAt(block, 345, isStar ? 131 : 155);
  return prefix === "" ? "" : `${prefix}/`;
}

/** Ends at the first NUL, or fills its field. */
export function textAt(block: Buffer, from: number, length: number): string {
  const text = block.toString("latin1", from, from + length);
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

/**
 * Octal digits between spaces and NULs, or GNU's base-256: a first byte with its top bit set, then big-endian.
 *
 * @throws {@link ImageError} `TAR_NUMBER`, also for what is negative or no exact JavaScript number.
 */
export function numberAt(block: Buffer, from: number, length: number, field: string): number {
  const first = block.readUInt8(from);
  if (first >= 0x80) return base256At(block, from, length, field);
  const text = textAt(block, from, length).trim();
  if (text === "") return 0;
  if (!/^[0-7]+$/.test(text)) throw new ImageError("TAR_NUMBER", `${field} in a tar header is no octal number`);
  return Number.parseInt(text, 8);
}

function base256At(block: Buffer, from: number, length: number, field: string): number {
  // 0x80 begins a positive number, 0xff a negative one; what lies between would be over 2^62 in either field.
  if (block.readUInt8(from) !== 0x80) throw new ImageError("TAR_NUMBER", `${field} in a tar header is out of range`);
  let value = 0;
  for (const byte of block.subarray(from + 1, from + length)) {
    value = value * 256 + byte;
    if (value > Number.MAX_SAFE_INTEGER) throw new ImageError("TAR_NUMBER", `${field} in a tar header is out of range`);
  }
  return value;
}

/** The sum of all bytes with the checksum's own as spaces; some old archivers summed signed bytes. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let at = 0; at < BLOCK_BYTES; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = block.readUInt8(at);
    unsigned += byte;
    signed += byte < 0x80 ? byte : byte - 0x100;
  }
  const text = textAt(block, 148, 8).trim();
  const said = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : -1;
  if (said !== unsigned && said !== signed) {
    throw new ImageError(
      "TAR_CHECKSUM",
      "the checksum of a tar header is wrong: this is no tar archive, or a damaged one",
    );
  }
}

export function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}
