/** ECDSA on P-384 with SHA-384, by WebCrypto: the same in Node and in browsers. */
import type { Bytes } from "./bytes.ts";

/** A key that is not a point of the curve gives null, for the caller to refuse under its own name. */
export async function importP384Key(point: Bytes): Promise<CryptoKey | null> {
  try {
    return await crypto.subtle.importKey("raw", point, { name: "ECDSA", namedCurve: "P-384" }, false, ["verify"]);
  } catch {
    return null;
  }
}

/**
 * @param signature - r ‖ s, 96 bytes. The twin with n − s is as valid: a signature identifies nothing.
 */
export async function verifyEs384(key: CryptoKey, signature: Bytes, message: Bytes): Promise<boolean> {
  return crypto.subtle.verify({ name: "ECDSA", hash: "SHA-384" }, key, signature, message);
}
