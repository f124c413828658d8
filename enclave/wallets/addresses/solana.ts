import { base58 } from "@scure/base";

/** The public key itself, in base 58. */
export function solana(publicKey: Uint8Array): string {
  return base58.encode(publicKey);
}
