/** Wallets and their accounts. */
import { account, accountSelector, CURVES, MAX_ACCOUNTS, newAccount } from "../accounts.ts";
import { EXPORT_FORMS } from "../bundles.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { hexBytes, nothing } from "./ids.ts";

const WALLET_KINDS = ["hd", "single-key"] as const;

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

/** X25519, hex. */
const x25519Key = z.string().check(z.regex(/^[0-9a-f]{64}$/, "expected 32 bytes in lower-case hex"));
const importId = z.string().check(z.regex(/^imp_[0-9a-f]{32}$/, "expected imp_ and 32 hex digits"));
const bundle = { enc: hexBytes(32), ciphertext: hexBytes(8192) };

const walletExport = z
  .strictObject({
    walletId,
    form: z.enum(EXPORT_FORMS),
    /** Whose key, in every form but the mnemonic: address or path; the first that fits unless given. */
    account: z.exactOptional(accountSelector),
    /** Of the keystore. */
    password: z.exactOptional(z.string().check(z.minLength(8), z.maxLength(256))),
    /** To whom it is sealed: the caller's own, made for this. */
    recipientPublicKey: x25519Key,
  })
  .check(
    z.refine(
      ({ form, password }) => (form === "keystore-v3") === (password !== undefined),
      "a password for keystore-v3, and for nothing else",
    ),
    z.refine(({ form, account }) => form !== "mnemonic" || account === undefined, "a mnemonic is all accounts'"),
  );

const newImport = z
  .strictObject({
    /** `hd` takes a mnemonic, `single-key` a private key. */
    kind: z.enum(WALLET_KINDS),
    curve: z.exactOptional(z.enum(CURVES)),
    /** As in `create_wallet`. */
    accounts: z.exactOptional(newAccounts),
    /** The caller's challenge, which the attestation document repeats. */
    nonce: z.string().check(z.regex(/^(?:[0-9a-f]{2}){16,64}$/, "expected 16 to 64 bytes in lower-case hex")),
  })
  .check(z.refine(({ kind, curve }) => kind === "single-key" || curve === undefined, "an hd wallet has every curve"));
export type NewImport = z.output<typeof newImport>;

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
  /** A wallet's secret, sealed to a key of the caller's. Only sealed: a keystore's password stands in it. */
  export_wallet: { params: walletExport, result: z.strictObject(bundle) },
  /** A key that receives one secret, once. */
  begin_import: {
    params: newImport,
    result: z.strictObject({
      importId,
      deadlineMs: z.int(),
      /** An attestation document, base64url: its `public_key` is the target, its `user_data` says whose and until when. */
      attestation: z.string(),
    }),
  },
  import_wallet: { params: z.strictObject({ importId, ...bundle }), result: wallet },
  delete_wallet: {
    params: z.strictObject({
      walletId,
      /** Needed for a wallet that was never exported: what it holds is gone for good. */
      withoutExport: z.exactOptional(z.literal(true)),
    }),
    result: nothing,
  },
} as const;
