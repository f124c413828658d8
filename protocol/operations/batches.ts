/** Many of the same kind under one stamp: each has its own result or refusal. */
import { MAX_ACCOUNTS } from "../accounts.ts";
import type { JsonValue } from "../strict-json.ts";
import { z } from "../zod.ts";
import { newWallet, wallet } from "./wallets.ts";

export const MAX_BATCH_WALLETS = 1_000;
/** Of all wallets of a batch: their answer fits into a frame. */
export const MAX_BATCH_ACCOUNTS = 2_000;
export const MAX_BATCH_SIGNATURES = 64;

/** What a batch can sign: all that is signed one by one. */
export const SIGNING_OPERATIONS = [
  "sign_transaction",
  "sign_message",
  "sign_typed_data",
  "sign_authorization",
  "sign_user_operation",
  "sign_solana_transaction",
  "sign_solana_message",
  "sign_digest",
  "sign_bitcoin_transaction",
  "sign_bitcoin_message",
] as const;
export type SigningOperation = (typeof SIGNING_OPERATIONS)[number];

/** As a request of its own would be refused. */
const refusal = z.strictObject({
  code: z.string(),
  message: z.string(),
  details: z.exactOptional(z.custom<JsonValue>()),
});
export type BatchRefusal = z.output<typeof refusal>;

const newWallets = z.array(newWallet).check(
  z.minLength(1),
  z.maxLength(MAX_BATCH_WALLETS),
  z.refine(
    (wallets) =>
      wallets.length > MAX_BATCH_WALLETS ||
      wallets.reduce((sum, { accounts }) => sum + Math.min(accounts?.length ?? 1, MAX_ACCOUNTS), 0) <=
        MAX_BATCH_ACCOUNTS,
    `over ${MAX_BATCH_ACCOUNTS} accounts`,
  ),
);

const signing = z.strictObject({
  operation: z.enum(SIGNING_OPERATIONS),
  /** As that operation takes them; what is wrong with them refuses this element alone. */
  params: z.custom<JsonValue>((value) => value !== undefined),
});

export const BATCH_OPERATIONS = {
  create_wallets: {
    params: z.strictObject({ wallets: newWallets }),
    /** In the order in which they were asked for; of each wallet the accounts that were. */
    result: z.strictObject({
      results: z.array(z.union([z.strictObject({ wallet }), z.strictObject({ error: refusal })])),
    }),
  },
  sign_batch: {
    params: z.strictObject({ requests: z.array(signing).check(z.minLength(1), z.maxLength(MAX_BATCH_SIGNATURES)) }),
    /** In the order in which they were asked for. */
    result: z.strictObject({
      results: z.array(
        z.union([z.strictObject({ result: z.custom<JsonValue>() }), z.strictObject({ error: refusal })]),
      ),
    }),
  },
} as const;
