/** Wallets and their accounts. */
import { account, CURVES, MAX_ACCOUNTS, newAccount } from "../accounts.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";

export const WALLET_KINDS = ["hd", "single-key"] as const;

const custody = z.discriminatedUnion("kind", [
  /** The vault holds its keys. */
  z.strictObject({ kind: z.literal("whole") }),
  /** The vault holds the operator's share of its secret, and the recovery share too where it is `held`. */
  z.strictObject({
    kind: z.literal("split"),
    /** Hex; another one whenever the secret is shared anew. */
    setId: z.string().check(z.regex(/^[0-9a-f]{32}$/)),
    sharedAtMs: z.int(),
    recovery: z.enum(["held", "exported"]),
    /** The identity or the passkey whose login got the device share. */
    deviceLoginId: z.string(),
  }),
]);
export type WalletCustody = z.output<typeof custody>;

export const wallet = z.strictObject({
  walletId,
  /** `hd`: BIP-39 entropy, accounts at paths. `single-key`: one random key, which all its accounts share. */
  kind: z.enum(WALLET_KINDS),
  accounts: z.tuple([account], account),
  createdAtMs: z.int(),
  custody,
});
export type Wallet = z.output<typeof wallet>;

const newAccounts = z.array(newAccount).check(z.minLength(1), z.maxLength(MAX_ACCOUNTS));

export const newWallet = z
  .strictObject({
    kind: z.enum(WALLET_KINDS),
    /** Of an `hd` wallet's mnemonic; 12 unless given. */
    words: z.exactOptional(z.literal([12, 15, 18, 21, 24])),
    /** Of a `single-key` wallet's key; secp256k1 unless given. */
    curve: z.exactOptional(z.enum(CURVES)),
    /** One unless given: Ethereum's, Solana's on ed25519, one without an address on p256. */
    accounts: z.exactOptional(newAccounts),
  })
  .check(
    z.refine(({ kind, words }) => kind === "hd" || words === undefined, "a single key has no words"),
    z.refine(({ kind, curve }) => kind === "single-key" || curve === undefined, "an hd wallet has every curve"),
  );
export type NewWallet = z.output<typeof newWallet>;

export const WALLET_OPERATIONS = {
  create_wallet: { params: newWallet, result: wallet },
  /** Adds accounts; those that are there already are found. */
  create_accounts: {
    params: z.strictObject({ walletId, accounts: newAccounts }),
    /** In the order in which they were asked for. */
    result: z.strictObject({ accounts: z.array(account) }),
  },
  list_wallets: {
    params: z.strictObject({
      /** The last wallet of the page before, or null for the first page. */
      after: z.nullable(walletId),
    }),
    result: z.strictObject({ wallets: z.array(wallet), more: z.boolean() }),
  },
} as const;
