import { ethereumAddress } from "../../signing/ethereum-address.ts";
import { uncompressed } from "../../signing/secp256k1.ts";

/** EIP-55. */
export function ethereum(publicKey: Uint8Array): string {
  return ethereumAddress(uncompressed(publicKey));
}
