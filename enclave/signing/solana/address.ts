import { base58 } from "@scure/base";

/** 32 bytes in base 58, as Solana writes accounts, programs and blockhashes. */
export function address(bytes: Uint8Array): string {
  return base58.encode(bytes);
}
