/**
 * secp256k1 by libsecp256k1, whose secret arithmetic is constant-time C. The native binding is loaded by its own path:
 * the package's main entry turns to JavaScript without a word where the binding is missing; here that is an error.
 */
import binding from "secp256k1/bindings.js";

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

/** Blinds the library's context (side channels). @param seed - 32 secret random bytes. */
export function randomizeContext(seed: Uint8Array): void {
  binding.contextRandomize(seed);
}

/** True for a scalar between 1 and n - 1. */
export function isPrivateKey(bytes: Uint8Array): boolean {
  return bytes.length === 32 && binding.privateKeyVerify(bytes);
}

/** Compressed is 33 bytes, otherwise 65 (SEC 1, 2.3.3). */
export function publicKeyOf(privateKey: Uint8Array, compressed: boolean): Uint8Array {
  return binding.publicKeyCreate(privateKey, compressed);
}

/** (key + tweak) mod n, for BIP-32; undefined if that is zero or the tweak is not below n. */
export function addTweak(privateKey: Uint8Array, tweak: Uint8Array): Uint8Array | undefined {
  const child = Uint8Array.from(privateKey);
  try {
    return binding.privateKeyTweakAdd(child, tweak);
  } catch {
    child.fill(0);
    return undefined;
  }
}

/** Signs a 32-byte digest with the nonce of RFC 6979: the same digest and key give the same signature. */
export function signRecoverable(digest: Uint8Array, privateKey: Uint8Array): RecoverableSignature {
  const { signature, recid } = binding.ecdsaSign(digest, privateKey);
  return { rs: signature, recoveryId: recid };
}

/** The public key that made a signature, uncompressed; null where there is none. */
export function recoverPublicKey(digest: Uint8Array, { rs, recoveryId }: RecoverableSignature): Uint8Array | null {
  try {
    return binding.ecdsaRecover(rs, recoveryId, digest, false);
  } catch {
    return null;
  }
}

/** Verifies a DER signature over a 32-byte digest. High s is accepted: clients of this format do not all normalise. */
export function verifyDer(digest: Uint8Array, derSignature: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    const signature = binding.signatureNormalize(binding.signatureImport(derSignature));
    return binding.ecdsaVerify(signature, digest, publicKey);
  } catch {
    return false;
  }
}
