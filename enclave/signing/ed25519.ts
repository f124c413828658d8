/** Ed25519 (RFC 8032) by node:crypto, which takes a seed as PKCS #8 (RFC 8410, 7). */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";

/** Everything before the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SEED_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;

/** The message whole, of any length: Ed25519 hashes it twice itself. @returns R ‖ S, 64 bytes. */
export function signMessage(message: Uint8Array, seed: Uint8Array): Uint8Array {
  return sign(null, message, privateKeyOf(seed));
}

/** 32 bytes. */
export function publicKeyOf(seed: Uint8Array): Uint8Array {
  const spki = createPublicKey(privateKeyOf(seed)).export({ type: "spki", format: "der" });
  return Uint8Array.from(spki.subarray(-PUBLIC_KEY_BYTES));
}

/** OpenSSL keeps a copy of the seed, and wipes it when the object is collected. */
function privateKeyOf(seed: Uint8Array): KeyObject {
  if (seed.length !== SEED_BYTES) throw new TypeError("ed25519: expected a seed of 32 bytes");
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}
