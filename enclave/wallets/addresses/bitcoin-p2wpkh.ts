import { bech32 } from "@scure/base";
import { hash160 } from "./hash160.ts";
import type { BitcoinNetwork } from "./network.ts";

/** BIP-173, witness version 0: the hash of a compressed public key. */
export function p2wpkh(publicKey: Uint8Array, network: BitcoinNetwork): string {
  return bech32.encode(network.prefix, [0, ...bech32.toWords(hash160(publicKey))]);
}
