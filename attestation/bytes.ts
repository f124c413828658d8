import { AttestationError, type AttestationErrorCode } from "./errors.ts";

/** Bytes that nothing else can resize or share: what WebCrypto accepts. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Reads bytes in order; running out is refused with the code of the format being read. */
export class ByteReader {
  readonly #bytes: Bytes;
  readonly #truncated: AttestationErrorCode;
  #at = 0;

  constructor(bytes: Bytes, truncated: AttestationErrorCode) {
    this.#bytes = bytes;
    this.#truncated = truncated;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next byte, left where it is; undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new AttestationError(this.#truncated, "another byte", `the end at ${this.#at}`);
    this.#at += 1;
    return byte;
  }

  /** A view of the next bytes. The length may be anything that was read: it is compared before it is used. */
  take(length: number | bigint): Bytes {
    if (length > this.left) {
      throw new AttestationError(this.#truncated, `a length that fits from ${this.#at}`, `${this.left} bytes left`);
    }
    const from = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(from, this.#at);
  }

  /** What was read since `from`, as received. */
  since(from: number): Bytes {
    return this.#bytes.subarray(from, this.#at);
  }
}

/** Compares all bytes whatever their content, so that time tells nothing of where a secret challenge differs. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (const [at, byte] of a.entries()) difference |= byte ^ (b[at] ?? 0);
  return difference === 0;
}

export function isAllZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

export function concatBytes(parts: readonly Uint8Array[]): Bytes {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
