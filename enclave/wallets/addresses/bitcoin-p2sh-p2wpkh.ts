import { base58check } from "./base58check.ts";
import { hash160 } from "./hash160.ts";
import type { BitcoinNetwork } from "./network.ts";

/** BIP-141, "P2WPKH nested in BIP16 P2SH": the hash of the script that holds the hash of a compressed public key. */
export function p2shP2wpkh(publicKey: Uint8Array, network: BitcoinNetwork): string {
  const redeemScript = Buffer.concat([Uint8Array.of(0x00, 20), hash160(publicKey)]);
  return base58check(network.p2shVersion, hash160(redeemScript));
}
