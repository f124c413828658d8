/**
 * Writes ASN.1 in DER (X.690), and the two BER forms that CMS from KMS needs: indefinite lengths and constructed octet
 * strings. It only writes; what reads certificates is under test and must not share code with what makes them.
 */
import { PkiError } from "./errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const CONSTRUCTED = 0x20;
const CONTEXT_SPECIFIC = 0x80;
const INDEFINITE_LENGTH = 0x80;
const END_OF_CONTENTS = Uint8Array.of(0, 0);

/** One element of definite length. The tag is its identifier octet: numbers above 30 are not supported. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Bytes {
  const size = contents.reduce((sum, part) => sum + part.length, 0);
  return concat(Uint8Array.of(tag), encodeLength(size), ...contents);
}

/** BER: one constructed element that ends with end-of-contents octets (X.690 8.1.3.6). */
export function indefinite(tag: number, ...contents: readonly Uint8Array[]): Bytes {
  return concat(Uint8Array.of(tag | CONSTRUCTED, INDEFINITE_LENGTH), ...contents, END_OF_CONTENTS);
}

export function sequence(...contents: readonly Uint8Array[]): Bytes {
  return element(0x30, ...contents);
}

/** A SET OF: DER wants its elements in the order of their encodings (X.690 11.6). */
export function setOf(...contents: readonly Uint8Array[]): Bytes {
  return element(0x31, ...contents.toSorted(Buffer.compare));
}

export function explicit(number: number, ...contents: readonly Uint8Array[]): Bytes {
  return element(explicitTag(number), ...contents);
}

/** Identifier octet of a constructed context-specific element. */
export function explicitTag(number: number): number {
  return CONTEXT_SPECIFIC | CONSTRUCTED | number;
}

/** A primitive context-specific element, for IMPLICIT strings. */
export function implicit(number: number, content: Uint8Array): Bytes {
  return element(CONTEXT_SPECIFIC | number, content);
}

export function boolean(value: boolean): Bytes {
  return element(0x01, Uint8Array.of(value ? 0xff : 0));
}

/** Two's complement in the fewest octets. */
export function integer(value: bigint | number): Bytes {
  const wide = BigInt(value);
  let size = 1;
  while (BigInt.asIntN(size * 8, wide) !== wide) size += 1;
  const octets = new Uint8Array(size);
  for (let at = size - 1, left = wide; at >= 0; at -= 1, left >>= 8n) octets[at] = Number(left & 0xffn);
  return element(0x02, octets);
}

export function octetString(content: Uint8Array): Bytes {
  return element(0x04, content);
}

export function bitString(content: Uint8Array): Bytes {
  return element(0x03, Uint8Array.of(0), content);
}

/** A BIT STRING whose bits have names: trailing zero bits are left out (X.690 11.2.2). */
export function namedBits(bits: readonly number[]): Bytes {
  if (bits.length === 0) return element(0x03, Uint8Array.of(0));
  const last = Math.max(...bits);
  const octets = new Uint8Array((last >> 3) + 1);
  for (const bit of bits) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return element(0x03, Uint8Array.of(7 - (last & 7)), octets);
}

export function nothing(): Bytes {
  return element(0x05);
}

/**
 * @param dotted - Such as `2.5.29.19`; the first two arcs as X.690 8.19.4 limits them.
 * @throws {@link PkiError} `MALFORMED_OID`
 */
export function objectIdentifier(dotted: string): Bytes {
  if (!/^[012](\.(0|[1-9][0-9]{0,14}))+$/.test(dotted)) throw new PkiError("MALFORMED_OID", `not an OID: ${dotted}`);
  const [root = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  if (root < 2 && second > 39) throw new PkiError("MALFORMED_OID", `second arc above 39 in ${dotted}`);
  return element(0x06, Uint8Array.from([root * 40 + second, ...rest].flatMap(base128)));
}

export function utf8String(text: string): Bytes {
  return element(0x0c, Buffer.from(text, "utf8"));
}

/** @throws {@link PkiError} `MALFORMED_VALUE` for characters outside X.680 41.4's table. */
export function printableString(text: string): Bytes {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) {
    throw new PkiError("MALFORMED_VALUE", "a character that no PrintableString holds");
  }
  return element(0x13, Buffer.from(text, "latin1"));
}

/**
 * RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, whole seconds, `Z`.
 *
 * @param atMs - Unix time; fractions of a second are cut off.
 * @throws {@link PkiError} `TIME_OUT_OF_RANGE` before 1950 and after 9999.
 */
export function time(atMs: number): Bytes {
  const at = new Date(atMs);
  const year = at.getUTCFullYear();
  if (!(year >= 1950 && year <= 9999)) {
    throw new PkiError("TIME_OUT_OF_RANGE", "expected a time between the years 1950 and 9999");
  }
  const digits = `${at.toISOString().slice(0, 19).replaceAll(/[-T:]/g, "")}Z`;
  return year < 2050 ? element(0x17, Buffer.from(digits.slice(2))) : element(0x18, Buffer.from(digits));
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function encodeLength(size: number): Uint8Array {
  if (size < 0x80) return Uint8Array.of(size);
  const octets: number[] = [];
  for (let left = size; left > 0; left = Math.floor(left / 256)) octets.unshift(left % 256);
  return Uint8Array.of(0x80 | octets.length, ...octets);
}

function base128(arc: number): number[] {
  const octets = [arc % 128];
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) octets.unshift(128 + (left % 128));
  return octets;
}
