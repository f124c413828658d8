/** Text forms of bytes, strict in both directions, for Node and browsers alike. */
import { ProtocolError } from "./errors.ts";

const HEX_PAIRS: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const BASE32_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64URL_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** By character code; 255 for what is no digit. */
const HEX_VALUES = valuesOf("0123456789abcdef", "0123456789ABCDEF");
const BASE64URL_VALUES = valuesOf(BASE64URL_DIGITS);
const NO_DIGIT = 255;

/** Lower-case hex without prefix. */
export function encodeHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX_PAIRS[byte];
  return text;
}

/**
 * Decodes hex of either case, without prefix.
 *
 * @throws {@link ProtocolError} `MALFORMED_HEX`
 */
export function decodeHex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length >> 1);
  let isHex = text.length % 2 === 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const high = valueAt(HEX_VALUES, text, at * 2);
    const low = valueAt(HEX_VALUES, text, at * 2 + 1);
    if (high === NO_DIGIT || low === NO_DIGIT) isHex = false;
    bytes[at] = (high << 4) | low;
  }
  if (!isHex) {
    throw new ProtocolError("MALFORMED_HEX", `expected pairs of hex digits, got ${text.length} characters`);
  }
  return bytes;
}

/** RFC 4648 section 5, without padding. */
export function encodeBase64url(bytes: Uint8Array): string {
  return digitsOf(bytes, BASE64URL_DIGITS, 6);
}

/** RFC 4648 section 6, in capitals and without padding: how authenticator apps and people write secrets. */
export function encodeBase32(bytes: Uint8Array): string {
  return digitsOf(bytes, BASE32_DIGITS, 5);
}

/**
 * RFC 4648 section 5 without padding, and only the canonical form: bits that no byte uses must be zero,
 * so that one value has one text.
 *
 * @throws {@link ProtocolError} `MALFORMED_BASE64URL`
 */
export function decodeBase64url(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.floor((text.length * 6) / 8));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (let digit = 0; digit < text.length; digit += 1) {
    const value = valueAt(BASE64URL_VALUES, text, digit);
    if (value === NO_DIGIT)
      throw new ProtocolError("MALFORMED_BASE64URL", "a character outside the base64url alphabet");
    held = (held << 6) | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = held >> bits;
      at += 1;
      held &= (1 << bits) - 1;
    }
  }
  if (bits >= 6 || held !== 0) throw new ProtocolError("MALFORMED_BASE64URL", "not the canonical text of any bytes");
  return bytes;
}

/** @param width - Bits of each digit. */
function digitsOf(bytes: Uint8Array, digits: string, width: number): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= width) {
      bits -= width;
      text += digits.charAt(held >> bits);
      held &= (1 << bits) - 1;
    }
  }
  return bits > 0 ? text + digits.charAt(held << (width - bits)) : text;
}

function valuesOf(...alphabets: readonly string[]): Uint8Array {
  const values = new Uint8Array(128).fill(255);
  for (const digits of alphabets) {
    for (let value = 0; value < digits.length; value += 1) values[digits.charCodeAt(value)] = value;
  }
  return values;
}

/** Looked up, and not searched for: every request and every answer is decoded here. */
function valueAt(values: Uint8Array, text: string, at: number): number {
  return values[text.charCodeAt(at)] ?? NO_DIGIT;
}
