import { base58check } from "./base58check.ts";
import { hash160 } from "./hash160.ts";
import type { BitcoinNetwork } from "./network.ts";

/** The first form of all: the hash of a compressed public key. */
export function p2pkh(publicKey: Uint8Array, network: BitcoinNetwork): string {
  return base58check(network.p2pkhVersion, hash160(publicKey));
}
