/** What each curve's keys can do, by one name for all of them. */
import type { Curve } from "../../protocol/index.ts";
import * as ed25519 from "../signing/ed25519.ts";
import * as p256 from "../signing/p256.ts";
import * as secp256k1 from "../signing/secp256k1.ts";
import { derivePrivateKey } from "./bip32.ts";
import { deriveEd25519, deriveP256 } from "./slip10.ts";

/** Whether 32 bytes are a key on this curve: on Ed25519 all are. */
export function isPrivateKey(curve: Curve, bytes: Uint8Array): boolean {
  switch (curve) {
    case "secp256k1":
      return secp256k1.isPrivateKey(bytes);
    case "ed25519":
      return bytes.length === 32;
    case "p256":
      return p256.isPrivateKey(bytes);
  }
}

/** 33 bytes, compressed; 32 on Ed25519. */
export function publicKeyOf(curve: Curve, privateKey: Uint8Array): Uint8Array {
  switch (curve) {
    case "secp256k1":
      return secp256k1.publicKeyOf(privateKey, true);
    case "ed25519":
      return ed25519.publicKeyOf(privateKey);
    case "p256":
      return p256.publicKeyOf(privateKey, true);
  }
}

/**
 * @param seed - BIP-39's, 64 bytes.
 * @returns The private key; the caller wipes it.
 * @throws Error for a path that the curve does not take
 */
export function deriveOn(curve: Curve, seed: Uint8Array, path: string): Uint8Array {
  switch (curve) {
    case "secp256k1":
      return derivePrivateKey(seed, path);
    case "ed25519":
      return deriveEd25519(seed, path);
    case "p256":
      return deriveP256(seed, path);
  }
}
