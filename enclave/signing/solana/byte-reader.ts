import { RequestError } from "../../../protocol/index.ts";

/** Reads a transaction's bytes from front to back, and never past their end. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** @throws {@link RequestError} `TRANSACTION_MALFORMED` */
  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw malformed(`the bytes end at ${this.#at}`);
    this.#at += 1;
    return byte;
  }

  /**
   * Solana's compact-u16: seven bits to a byte, the lowest first. Longer spellings of a number are read too: whoever
   * writes anew what was read, and compares, refuses them.
   */
  compactU16(): number {
    let value = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (value > 0xffff) throw malformed("a compact-u16 over 65535");
        return value;
      }
    }
    throw malformed("a compact-u16 of more than three bytes");
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    const left = this.#bytes.length - this.#at;
    if (length > left) throw malformed(`${left} bytes left where ${length} should be`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.#at);
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw malformed(`${left} bytes after the message`);
  }
}

export function compactU16(value: number): Uint8Array {
  if (value < 0x80) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of((value & 0x7f) | 0x80, value >> 7);
  return Uint8Array.of((value & 0x7f) | 0x80, ((value >> 7) & 0x7f) | 0x80, value >> 14);
}

export function malformed(why: string): RequestError {
  return new RequestError("TRANSACTION_MALFORMED", why);
}
