/** secp256k1 by libsecp256k1, whose secret arithmetic is constant-time C; never in JavaScript. */
import { loadSecp256k1 } from "./secp256k1-binding.ts";

const binding = loadSecp256k1();

/** Which binding runs, as the enclave's status names it. */
export const secp256k1Binding: string = binding.version;

export interface RecoverableSignature {
  /** r ‖ s, 64 bytes, low s (BIP-62, rule 5). */
  readonly rs: Uint8Array;
  /** 0 or 1: the parity of R's y; x overflows with probability 2^-127 and libsecp256k1 then says 2 or 3. */
  readonly recoveryId: number;
}

/** What can sign a 32-byte digest with ECDSA, and does not show its key. */
export interface DigestSigner {
  signDigest(digest: Uint8Array): RecoverableSignature;
}

export interface TweakedXOnlyKey {
  /** 32 bytes. */
  readonly xOnly: Uint8Array;
  /** Of the tweaked point's y: 1 where it is odd, as a taproot script's control block has it. */
  readonly parity: 0 | 1;
}

/** Blinds the library's context (side channels). @param seed - 32 secret random bytes. */
export function randomizeContext(seed: Uint8Array): void {
  if (!binding.randomize(seed)) throw new Error("secp256k1: the context was not randomised");
}

/** True for a scalar between 1 and n - 1, of 32 bytes. */
export function isPrivateKey(bytes: Uint8Array): boolean {
  return binding.isPrivateKey(bytes);
}

/** Compressed is 33 bytes, otherwise 65 (SEC 1, 2.3.3). */
export function publicKeyOf(privateKey: Uint8Array, compressed: boolean): Uint8Array {
  const point = new Uint8Array(compressed ? 33 : 65);
  if (!binding.publicKey(privateKey, point)) throw notAPrivateKey();
  return point;
}

/** BIP-340's public key: x alone, 32 bytes. */
export function xOnlyPublicKeyOf(privateKey: Uint8Array): Uint8Array {
  return publicKeyOf(privateKey, true).slice(1);
}

/** (key + tweak) mod n, for BIP-32; undefined if that is zero or the tweak is not below n. */
export function addTweak(privateKey: Uint8Array, tweak: Uint8Array): Uint8Array | undefined {
  const child = Uint8Array.from(privateKey);
  if (binding.addTweak(child, tweak)) return child;
  child.fill(0);
  return undefined;
}

/**
 * key + tweak·G, compressed, for BIP-32's public derivation.
 *
 * @param publicKey - 33 or 65 bytes.
 * @returns Undefined where the key is no point, the tweak is not below n, or the sum is the point at infinity.
 */
export function tweakPublicKey(publicKey: Uint8Array, tweak: Uint8Array): Uint8Array | undefined {
  const point = new Uint8Array(33);
  return binding.tweakPublicKey(publicKey, tweak, point) ? point : undefined;
}

/**
 * BIP-341's output key: the point of even y at `xOnly`, plus tweak·G. The tweak is the caller's to hash.
 *
 * @returns Undefined as {@link tweakPublicKey}.
 */
export function tweakXOnlyPublicKey(xOnly: Uint8Array, tweak: Uint8Array): TweakedXOnlyKey | undefined {
  if (xOnly.length !== 32) throw new TypeError("secp256k1: expected an x-only key of 32 bytes");
  const point = tweakPublicKey(Uint8Array.of(2, ...xOnly), tweak);
  return point && { xOnly: point.slice(1), parity: point[0] === 3 ? 1 : 0 };
}

const NO_TWEAK = new Uint8Array(32);

/** A compressed public key with its y, 65 bytes: the key + 0·G, which is three times as fast as what OpenSSL does (measured). */
export function uncompressed(publicKey: Uint8Array): Uint8Array {
  const point = new Uint8Array(65);
  if (!binding.tweakPublicKey(publicKey, NO_TWEAK, point)) throw new Error("secp256k1: not a public key");
  return point;
}

/** Signs a 32-byte digest with the nonce of RFC 6979: the same digest and key give the same signature. */
export function signRecoverable(digest: Uint8Array, privateKey: Uint8Array): RecoverableSignature {
  const rs = new Uint8Array(64);
  const recoveryId = binding.signRecoverable(digest, privateKey, rs);
  if (recoveryId < 0) throw notAPrivateKey();
  return { rs, recoveryId };
}

/** The key that made a signature over a 32-byte digest, 65 bytes; undefined where none can have made it. */
export function recoverPublicKey(digest: Uint8Array, rs: Uint8Array, recoveryId: number): Uint8Array | undefined {
  const point = new Uint8Array(65);
  return binding.recover(digest, rs, recoveryId, point) ? point : undefined;
}

/** Verifies a DER signature over a 32-byte digest. High s is accepted: clients of this format do not all normalise. */
export function verifyDer(digest: Uint8Array, derSignature: Uint8Array, publicKey: Uint8Array): boolean {
  return binding.verifyDer(digest, derSignature, publicKey);
}

/**
 * BIP-340, 64 bytes.
 *
 * @param message - 32 bytes: whatever is signed, hashed by the caller.
 * @param auxRand - 32 random bytes, which protect the nonce against side channels and faults; null gives the same signature
 *   each time, as zeros would.
 * @param tapTweak - BIP-341's tweak, hashed by the caller: what signs then is the key of {@link tweakXOnlyPublicKey}.
 * @throws NativeError `NATIVE_MISSING` where our own binding is not built: npm's has no Schnorr.
 */
export function signSchnorr(
  message: Uint8Array,
  privateKey: Uint8Array,
  auxRand: Uint8Array | null,
  tapTweak: Uint8Array | null = null,
): Uint8Array {
  const signature = new Uint8Array(64);
  if (!binding.signSchnorr(message, privateKey, auxRand, tapTweak, signature)) throw notAPrivateKey();
  return signature;
}

/** @throws NativeError as {@link signSchnorr}. */
export function verifySchnorr(signature: Uint8Array, message: Uint8Array, xOnly: Uint8Array): boolean {
  return binding.verifySchnorr(signature, message, xOnly);
}

function notAPrivateKey(): Error {
  return new Error("secp256k1: not a private key");
}
