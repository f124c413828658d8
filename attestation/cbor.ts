/**
 * CBOR (RFC 8949) as far as attestation documents use it. Not here, and refused: tags, floats, `undefined` and other
 * simple values, strings and arrays of indefinite length, keys that are neither integer nor text. Maps of indefinite
 * length are accepted, because genuine documents since 2025 have them; every other head must be minimal.
 */
import { ByteReader, type Bytes } from "./bytes.ts";
import { AttestationError } from "./errors.ts";

export type CborKey = number | bigint | string;
export type CborValue = CborKey | boolean | null | Bytes | readonly CborValue[] | CborMap;
/** A Map and not an object: a key named `__proto__` is a key like any other. */
export type CborMap = ReadonlyMap<CborKey, CborValue>;

/** Documents nest three deep; the rest is room for fields that AWS may add. */
export const MAX_DEPTH = 8;

const INDEFINITE = 31;
const BREAK = 0xff;

// ignoreBOM keeps U+FEFF in the text, so that two keys which differ by it stay two keys.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Decodes exactly one item. Byte strings are views of the input.
 *
 * @throws {@link AttestationError} `CBOR_*`
 */
export function decodeCbor(bytes: Bytes): CborValue {
  const reader = new ByteReader(bytes, "CBOR_TRUNCATED");
  const value = readItem(reader, 1);
  if (reader.left > 0) throw new AttestationError("CBOR_TRAILING_BYTES", "the end", `${reader.left} more bytes`);
  return value;
}

function readItem(reader: ByteReader, depth: number): CborValue {
  if (depth > MAX_DEPTH) {
    throw new AttestationError("CBOR_TOO_DEEP", `items nested at most ${MAX_DEPTH} deep`, `another at ${reader.at}`);
  }
  const at = reader.at;
  const initial = reader.u8();
  const info = initial & 0x1f;
  switch (initial >> 5) {
    case 0:
      return readArgument(reader, info);
    case 1:
      return negative(readArgument(reader, info));
    case 2:
      return reader.take(readArgument(reader, info));
    case 3:
      return decodeText(reader.take(readArgument(reader, info)), at);
    case 4:
      return readArray(reader, readArgument(reader, info), depth);
    case 5:
      return info === INDEFINITE
        ? readIndefiniteMap(reader, depth)
        : readMap(reader, readArgument(reader, info), depth);
    case 7:
      if (info === 20) return false;
      if (info === 21) return true;
      if (info === 22) return null;
      throw unsupported(at);
    default:
      throw unsupported(at);
  }
}

/** RFC 8949 section 3, and the preferred serialization of 4.1: no longer form where a shorter one would do. */
function readArgument(reader: ByteReader, info: number): number | bigint {
  if (info < 24) return info;
  if (info > 27) throw unsupported(reader.at - 1);
  const width = 1 << (info - 24);
  let value = 0n;
  for (const byte of reader.take(width)) value = (value << 8n) | BigInt(byte);
  const smallest = width === 1 ? 24 : 2 ** (4 * width);
  if (value < smallest) {
    throw new AttestationError(
      "CBOR_NOT_MINIMAL",
      "the shortest head",
      `one of ${width} bytes at ${reader.at - width}`,
    );
  }
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

function negative(argument: number | bigint): number | bigint {
  const value = -1n - BigInt(argument);
  return value >= Number.MIN_SAFE_INTEGER ? Number(value) : value;
}

function decodeText(bytes: Bytes, at: number): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new AttestationError("CBOR_INVALID_UTF8", "UTF-8", `other bytes in the text at ${at}`, { cause });
  }
}

function readArray(reader: ByteReader, count: number | bigint, depth: number): CborValue[] {
  // An item takes a byte at least: a count beyond what is left is refused before anything is collected.
  checkCount(reader, count, 1);
  const items: CborValue[] = [];
  while (items.length < count) items.push(readItem(reader, depth + 1));
  return items;
}

function readMap(reader: ByteReader, count: number | bigint, depth: number): CborMap {
  checkCount(reader, count, 2);
  const map = new Map<CborKey, CborValue>();
  while (map.size < count) readEntry(reader, map, depth);
  return map;
}

function readIndefiniteMap(reader: ByteReader, depth: number): CborMap {
  const map = new Map<CborKey, CborValue>();
  while (reader.peek() !== BREAK) readEntry(reader, map, depth);
  reader.u8();
  return map;
}

function readEntry(reader: ByteReader, map: Map<CborKey, CborValue>, depth: number): void {
  const at = reader.at;
  const major = (reader.peek() ?? 0) >> 5;
  if (major > 1 && major !== 3) throw unsupported(at);
  const key = readItem(reader, depth + 1) as CborKey;
  if (map.has(key)) throw new AttestationError("CBOR_DUPLICATE_KEY", "each key once", `one again at ${at}`);
  map.set(key, readItem(reader, depth + 1));
}

function checkCount(reader: ByteReader, count: number | bigint, bytesEach: number): void {
  if (count > reader.left / bytesEach) {
    throw new AttestationError("CBOR_TRUNCATED", `a count that fits from ${reader.at}`, `${reader.left} bytes left`);
  }
}

function unsupported(at: number): AttestationError {
  return new AttestationError("CBOR_UNSUPPORTED", "an item that documents use", `another kind at ${at}`);
}
