/**
 * CBOR (RFC 8949) as far as an EIF's signature has it: unsigned and small negative integers, byte strings, text, arrays
 * and maps, all of definite length and with the shortest heads. AWS's types write nothing else, and QEMU reads nothing
 * else.
 */
import { EifError } from "./errors.ts";

const MAJOR = { UNSIGNED: 0, NEGATIVE: 1, BYTES: 2, TEXT: 3, ARRAY: 4, MAP: 5 } as const;

/** Writes one item after the other. */
export class CborWriter {
  readonly #parts: Uint8Array[] = [];

  unsigned(value: number): this {
    return this.#head(MAJOR.UNSIGNED, value);
  }

  /** Below zero: -1 is the largest. */
  negative(value: number): this {
    return this.#head(MAJOR.NEGATIVE, -1 - value);
  }

  bytes(bytes: Uint8Array): this {
    this.#head(MAJOR.BYTES, bytes.length).#parts.push(bytes);
    return this;
  }

  text(text: string): this {
    const bytes = new TextEncoder().encode(text);
    this.#head(MAJOR.TEXT, bytes.length).#parts.push(bytes);
    return this;
  }

  array(count: number): this {
    return this.#head(MAJOR.ARRAY, count);
  }

  map(count: number): this {
    return this.#head(MAJOR.MAP, count);
  }

  /** Bytes as serde writes a `Vec<u8>`: an array with an integer for each. */
  byteArray(bytes: Uint8Array): this {
    this.array(bytes.length);
    for (const byte of bytes) this.unsigned(byte);
    return this;
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }

  /** A signature section is at most 32 KiB, so two bytes of length are enough. */
  #head(major: number, value: number): this {
    const first = major << 5;
    if (value < 24) this.#parts.push(Uint8Array.of(first | value));
    else if (value < 0x100) this.#parts.push(Uint8Array.of(first | 24, value));
    else this.#parts.push(Uint8Array.of(first | 25, value >> 8, value & 0xff));
    return this;
  }
}

/** Reads the items that are expected, and refuses every other. All errors are `SIGNATURE_MALFORMED`. */
export class CborReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  unsigned(): number {
    return this.#head(MAJOR.UNSIGNED, "an unsigned integer");
  }

  negative(): number {
    return -1 - this.#head(MAJOR.NEGATIVE, "a negative integer");
  }

  bytes(): Uint8Array {
    return this.#take(this.#head(MAJOR.BYTES, "a byte string"));
  }

  text(): string {
    return Buffer.from(this.#take(this.#head(MAJOR.TEXT, "text"))).toString("utf8");
  }

  array(): number {
    return this.#head(MAJOR.ARRAY, "an array");
  }

  map(): number {
    return this.#head(MAJOR.MAP, "a map");
  }

  /** An array with an integer for each byte. A count beyond what is left is refused before anything is held. */
  byteArray(): Uint8Array {
    const count = this.array();
    if (count > this.#bytes.length - this.#at) throw malformed("an array", this.#at, "fewer items than it claims");
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index += 1) {
      const at = this.#at;
      const value = this.unsigned();
      if (value > 0xff) throw malformed("a byte", at, "a larger integer");
      bytes[index] = value;
    }
    return bytes;
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw malformed("the end", this.#at, `${left} more bytes`);
  }

  #head(major: number, expected: string): number {
    const at = this.#at;
    const initial = this.#u8();
    if (initial >> 5 !== major) throw malformed(expected, at, "another item");
    const info = initial & 0x1f;
    if (info < 24) return info;
    if (info > 25) throw malformed("a definite length of at most two bytes", at, "another");
    const value = info === 24 ? this.#u8() : this.#u8() * 0x100 + this.#u8();
    if (value < (info === 24 ? 24 : 0x100)) throw malformed("the shortest head", at, "a longer one");
    return value;
  }

  #u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw malformed("another byte", this.#at, "the end");
    this.#at += 1;
    return byte;
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw malformed(`${length} bytes`, this.#at, "the end before");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

function malformed(expected: string, at: number, got: string): EifError {
  return new EifError("SIGNATURE_MALFORMED", `signature section: expected ${expected} at byte ${at}, got ${got}`);
}
