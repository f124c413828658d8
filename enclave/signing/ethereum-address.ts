import { decodeHex, encodeHex } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";
import { keccak256 } from "./keccak.ts";

/**
 * The address of a secp256k1 public key, in EIP-55's mixed case.
 *
 * @param publicKey - Uncompressed, 65 bytes.
 */
export function ethereumAddress(publicKey: Uint8Array): string {
  return checksummed(keccak256(publicKey.subarray(1)).subarray(12));
}

/** Public, and the same ones again and again: tokens, and whom they go to. */
const checked = new RecencyMap<string, string>(10_000);

/** An address of 20 bytes in EIP-55's mixed case. */
export function checksummed(bytes: Uint8Array): string {
  // In one piece, both: V8 keeps a text that was put together digit by digit as all of its parts, 2.5 kB each (measured).
  const hex = Buffer.from(bytes).toString("hex");
  const known = checked.use(hex);
  if (known !== undefined) return known;
  const address = Buffer.from(checksum(hex), "latin1").toString("latin1");
  checked.set(hex, address);
  return address;
}

function checksum(hex: string): string {
  const check = encodeHex(keccak256(new TextEncoder().encode(hex)));
  let address = "0x";
  for (let at = 0; at < hex.length; at += 1) {
    const digit = hex.charAt(at);
    address += Number.parseInt(check.charAt(at), 16) >= 8 ? digit.toUpperCase() : digit;
  }
  return address;
}

/** The 20 bytes of an address in lower case or in EIP-55's mixed case; null for any other text, such as a mistyped one. */
export function addressBytes(text: string): Uint8Array | null {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) return null;
  const bytes = decodeHex(text.slice(2));
  return text === text.toLowerCase() || text === checksummed(bytes) ? bytes : null;
}
