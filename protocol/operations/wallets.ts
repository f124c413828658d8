/** Wallets and their accounts. */
import { account } from "../accounts.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";

const wallet = z.strictObject({
  walletId,
  /** `hd`: BIP-39 entropy, accounts at paths. `single-key`: one random key, which all its accounts share. */
  kind: z.enum(["hd", "single-key"]),
  accounts: z.tuple([account], account),
  createdAtMs: z.int(),
});
export type Wallet = z.output<typeof wallet>;

export const WALLET_OPERATIONS = {
  create_wallet: {
    params: z.strictObject({ kind: z.enum(["hd", "single-key"]) }),
    result: wallet,
  },
  list_wallets: {
    params: z.strictObject({
      /** The last wallet of the page before, or null for the first page. */
      after: z.nullable(walletId),
    }),
    result: z.strictObject({ wallets: z.array(wallet), more: z.boolean() }),
  },
} as const;
