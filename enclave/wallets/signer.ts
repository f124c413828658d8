/** A key that is lent for one piece of work: what it can sign, and never what it is. */
import type { RecoverableSignature } from "../signing/secp256k1.ts";

export type Signer = Secp256k1Signer | Ed25519Signer | P256Signer;

export interface Secp256k1Signer {
  readonly curve: "secp256k1";
  /** Compressed, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** ECDSA over a 32-byte digest, nonce of RFC 6979, low s. */
  signDigest(digest: Uint8Array): RecoverableSignature;
  /**
   * BIP-340 over 32 bytes.
   *
   * @param tapTweak - 32 bytes by which the key is tweaked first (BIP-341), or null for the key as it is.
   */
  signSchnorr(message: Uint8Array, tapTweak: Uint8Array | null): Uint8Array;
}

export interface Ed25519Signer {
  readonly curve: "ed25519";
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** RFC 8032, Ed25519 over the whole message; 64 bytes. */
  signMessage(message: Uint8Array): Uint8Array;
}

export interface P256Signer {
  readonly curve: "p256";
  /** Compressed, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** ECDSA over a 32-byte digest; r ‖ s. */
  signDigest(digest: Uint8Array): Uint8Array;
}
