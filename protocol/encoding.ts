/** Text forms of bytes, strict in both directions, for Node and browsers alike. */
import { ProtocolError } from "./errors.ts";

const HEX_DIGITS = "0123456789abcdef";
const BASE64URL_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64URL_VALUES: ReadonlyMap<string, number> = new Map(
  [...BASE64URL_DIGITS].map((digit, value) => [digit, value]),
);

/** Lower-case hex without prefix. */
export function encodeHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX_DIGITS.charAt(byte >> 4) + HEX_DIGITS.charAt(byte & 15);
  return text;
}

/**
 * Decodes hex of either case, without prefix.
 *
 * @throws {@link ProtocolError} `MALFORMED_HEX`
 */
export function decodeHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new ProtocolError("MALFORMED_HEX", `expected pairs of hex digits, got ${text.length} characters`);
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = Number.parseInt(text.slice(at * 2, at * 2 + 2), 16);
  return bytes;
}

/** RFC 4648 section 5, without padding. */
export function encodeBase64url(bytes: Uint8Array): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text += BASE64URL_DIGITS.charAt((held >> bits) & 63);
    }
    held &= (1 << bits) - 1;
  }
  if (bits > 0) text += BASE64URL_DIGITS.charAt((held << (6 - bits)) & 63);
  return text;
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
  for (const digit of text) {
    const value = BASE64URL_VALUES.get(digit);
    if (value === undefined)
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
