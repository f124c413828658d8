/** DER (X.690 section 10) as certificates use it: definite, minimal lengths and one-byte tags. */
import { ByteReader, type Bytes } from "./bytes.ts";
import { AttestationError } from "./errors.ts";

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
  CONTEXT_0: 0xa0,
  CONTEXT_3: 0xa3,
} as const;

/** The elements inside one element, or inside nothing. All errors are `CERTIFICATE_MALFORMED`. */
export class DerReader {
  readonly #reader: ByteReader;

  constructor(bytes: Bytes) {
    this.#reader = new ByteReader(bytes, "CERTIFICATE_MALFORMED");
  }

  get hasMore(): boolean {
    return this.#reader.left > 0;
  }

  nextIs(tag: number): boolean {
    return this.#reader.peek() === tag;
  }

  /** The content of the next element. */
  read(tag: number): Bytes {
    if (!this.nextIs(tag)) throw malformed(`tag ${tag}`, `another or the end at ${this.#reader.at}`);
    this.#reader.u8();
    return this.#reader.take(this.#length());
  }

  /** The next element with its tag and length, as received. */
  readWhole(tag: number): Bytes {
    const from = this.#reader.at;
    this.read(tag);
    return this.#reader.since(from);
  }

  enter(tag: number): DerReader {
    return new DerReader(this.read(tag));
  }

  /** X.690 8.2 and 11.1: absent means false, and false must be absent. */
  readOptionalTrue(): boolean {
    if (!this.nextIs(TAG.BOOLEAN)) return false;
    const value = this.read(TAG.BOOLEAN);
    if (value.length !== 1 || value[0] !== 0xff) throw malformed("TRUE or nothing", "another BOOLEAN");
    return true;
  }

  /** A positive INTEGER or zero, without its sign byte (X.690 8.3.2: the shortest form). */
  readUnsigned(maxBytes: number): Bytes {
    const value = this.read(TAG.INTEGER);
    const [first = 0x80, second = 0] = value;
    if (first >= 0x80) throw malformed("an INTEGER of zero or more", "a negative or empty one");
    if (first === 0 && value.length > 1 && second < 0x80) throw malformed("the shortest INTEGER", "a longer one");
    const magnitude = first === 0 && value.length > 1 ? value.subarray(1) : value;
    if (magnitude.length > maxBytes) throw malformed(`at most ${maxBytes} bytes`, `${magnitude.length}`);
    return magnitude;
  }

  end(): void {
    if (this.hasMore) throw malformed("the end", `${this.#reader.left} more bytes`);
  }

  /** Two bytes are enough for what {@link MAX_CERTIFICATE_BYTES} allows. */
  #length(): number {
    const first = this.#reader.u8();
    if (first < 0x80) return first;
    const width = first & 0x7f;
    if (width < 1 || width > 2) throw malformed("a definite length of at most 2 bytes", "another form");
    let length = 0;
    for (const byte of this.#reader.take(width)) length = length * 0x100 + byte;
    if (length < (width === 1 ? 0x80 : 0x100)) throw malformed("the shortest length", "a longer form");
    return length;
  }
}

export function malformed(expected: string, got: string): AttestationError {
  return new AttestationError("CERTIFICATE_MALFORMED", expected, got);
}
