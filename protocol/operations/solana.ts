/** What is signed for Solana. */
import { accountSelector } from "../accounts.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { hexBytes } from "./ids.ts";

/** The most that travels on Solana's network in one piece. */
const MAX_TRANSACTION_BYTES = 1232;

export const SOLANA_OPERATIONS = {
  sign_solana_transaction: {
    params: z.strictObject({
      walletId,
      account: z.exactOptional(accountSelector),
      /** As it travels: signatures, 64 zeros for each that is missing, then the message; legacy or version 0. */
      transaction: hexBytes(MAX_TRANSACTION_BYTES),
    }),
    result: z.strictObject({
      /** Of this account. The transaction's id is the first of its signatures, in base 58. */
      signature: hexBytes(64),
      /** The same transaction, with the signature in its place beside those that were there. */
      signedTransaction: hexBytes(MAX_TRANSACTION_BYTES),
      /** Whether all have signed who must, so that it can be sent. */
      isComplete: z.boolean(),
    }),
  },
  sign_solana_message: {
    params: z.strictObject({
      walletId,
      account: z.exactOptional(accountSelector),
      /** All that is signed: an off-chain message of version 0 with its head, or a UTF-8 text as it is. */
      message: hexBytes(66 * 1024),
    }),
    result: z.strictObject({ signature: hexBytes(64) }),
  },
} as const;
