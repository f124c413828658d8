/** What is signed for Ethereum and the chains like it. */
import { accountSelector } from "../accounts.ts";
import { decimal } from "../decimal.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { hexBytes } from "./ids.ts";

export const EVM_OPERATIONS = {
  sign_transaction: {
    params: z.strictObject({
      walletId,
      account: z.exactOptional(accountSelector),
      /** EIP-155 chain id; must be the transaction's own. */
      chainId: decimal,
      /** EIP-2718 bytes without signature: `0x02` ‖ RLP of the nine fields of EIP-1559. */
      unsignedTransaction: hexBytes(128 * 1024),
    }),
    result: z.strictObject({
      /** EIP-2718 bytes, ready to broadcast. */
      signedTransaction: hexBytes(129 * 1024),
      /** keccak256 of `signedTransaction`. */
      transactionHash: hexBytes(32),
    }),
  },
  sign_message: {
    params: z.strictObject({
      walletId,
      account: z.exactOptional(accountSelector),
      /** The bytes to sign under EIP-191 version 0x45 (`personal_sign`), before the prefix. */
      message: hexBytes(64 * 1024),
    }),
    result: z.strictObject({
      /** r ‖ s ‖ v, 65 bytes, v 27 or 28. */
      signature: hexBytes(65),
    }),
  },
} as const;
