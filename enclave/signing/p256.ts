/**
 * P-256 by OpenSSL, constant-time C; never in JavaScript. node:crypto hashes what it signs: a digest is signed as it is
 * through `enclave/native/p256.c`, which calls the OpenSSL inside Node.
 */
import { loadNative } from "../../vsock/index.ts";

/** Keys, digests and tweaks have 32 bytes, signatures 64. What has another length is a TypeError, unless said. */
interface P256Binding {
  /** False for what has another length. */
  isPrivateKey(key: Uint8Array): boolean;
  /** Writes 33 or 65 bytes into `out`. False for what is no private key. */
  publicKey(key: Uint8Array, out: Uint8Array): boolean;
  /** Changes `key` in place. False, and zeros, where the sum is 0 or one of the two is no scalar. */
  addTweak(key: Uint8Array, tweak: Uint8Array): boolean;
  /** Writes r ‖ s into `out`. False for what is no private key. */
  signDigest(digest: Uint8Array, key: Uint8Array, out: Uint8Array): boolean;
}

let loaded: P256Binding | undefined;

/** At the first use: where nothing is compiled, all but P-256 works. */
function binding(): P256Binding {
  loaded ??= loadNative("p256") as P256Binding;
  return loaded;
}

/**
 * True for a scalar between 1 and n - 1, of 32 bytes.
 *
 * @throws NativeError `NATIVE_MISSING`, as all functions here, where the addon is not built.
 */
export function isPrivateKey(bytes: Uint8Array): boolean {
  return binding().isPrivateKey(bytes);
}

/** Compressed is 33 bytes, otherwise 65 (SEC 1, 2.3.3). */
export function publicKeyOf(privateKey: Uint8Array, compressed: boolean): Uint8Array {
  const point = new Uint8Array(compressed ? 33 : 65);
  if (!binding().publicKey(privateKey, point)) throw notAPrivateKey();
  return point;
}

/** (key + tweak) mod n, for SLIP-10; undefined if that is zero or the tweak is not below n. */
export function addTweak(privateKey: Uint8Array, tweak: Uint8Array): Uint8Array | undefined {
  const child = Uint8Array.from(privateKey);
  if (binding().addTweak(child, tweak)) return child;
  child.fill(0);
  return undefined;
}

/**
 * Signs a 32-byte digest as it is, with the nonce of RFC 6979 by SHA-256: the same digest and key give the same signature.
 *
 * @returns r ‖ s, 64 bytes. s is as it comes out, low or high: P-256 has no rule for it.
 * @throws Error where Node's OpenSSL is older than 3.2, which has no such nonces (the image's is 3.5).
 */
export function signDigest(digest: Uint8Array, privateKey: Uint8Array): Uint8Array {
  const rs = new Uint8Array(64);
  if (!binding().signDigest(digest, privateKey, rs)) throw notAPrivateKey();
  return rs;
}

function notAPrivateKey(): Error {
  return new Error("p256: not a private key");
}
