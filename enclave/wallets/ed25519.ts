/** Ed25519 by OpenSSL (RFC 8032). */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";

/** PKCS #8 of an Ed25519 seed up to the seed itself (RFC 8410, 7). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/** 32 bytes. */
export function publicKeyOf(seed: Uint8Array): Uint8Array {
  const { x } = createPublicKey(keyOf(seed)).export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
}

/** 64 bytes, over the whole message. */
export function signMessage(message: Uint8Array, seed: Uint8Array): Uint8Array {
  return sign(null, message, keyOf(seed));
}

function keyOf(seed: Uint8Array): KeyObject {
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}
