/** What the vault holds of a wallet. */
import {
  type Account,
  ADDRESS_FORMATS,
  bytesOf,
  bytesUpTo,
  CURVES,
  encodeHex,
  MAX_ACCOUNTS,
  type Wallet,
  z,
} from "../../protocol/index.ts";
import { custodyKind, custodyOf, splitSecret } from "../custody/split-secret.ts";
import { copyOffHeap, moveOffHeap } from "../off-heap.ts";
import type { RecordKind } from "../vault/records.ts";

const heldAccount = z.strictObject({
  address: z.string(),
  format: z.enum(ADDRESS_FORMATS),
  curve: z.enum(CURVES),
  publicKey: bytesUpTo(33),
  path: z.nullable(z.string()),
  /** The key that signs: derived once. Null in a split wallet, which derives it from its secret whenever it is together. */
  privateKey: z.nullable(bytesOf(32)),
});
export type HeldAccount = z.output<typeof heldAccount>;

const heldAccounts = z.tuple([heldAccount], heldAccount).check(z.refine((accounts) => accounts.length <= MAX_ACCOUNTS));

/** BIP-39 entropy of an `hd` wallet, and the seed that its words give: a PBKDF2 that need not be done again. */
const hdSecret = z.strictObject({ kind: z.literal("hd"), entropy: bytesUpTo(32), seed: bytesOf(64) });
/** All accounts of a `single-key` wallet are this key. */
const singleKeySecret = z.strictObject({
  kind: z.literal("single-key"),
  curve: z.enum(CURVES),
  privateKey: bytesOf(32),
});
export type HdSecret = z.output<typeof hdSecret>;
export type WalletSecret = z.output<typeof walletSecret>;
const walletSecret = z.discriminatedUnion("kind", [hdSecret, singleKeySecret]);

/** In its record: of a split wallet's secret there is the operator's share, and no key of its accounts. */
const walletSchema = z.strictObject({
  secret: z.discriminatedUnion("kind", [hdSecret, singleKeySecret, splitSecret]),
  accounts: heldAccounts,
  createdAtMs: z.int(),
  /** When it was last exported; null for never. */
  exportedAtMs: z.nullable(z.int()),
  /** SHA-256 of the bundle that it came in, so that the import which is asked for again finds it; null if made here. */
  importedAs: z.nullable(bytesOf(32)),
});
export type StoredWallet = z.output<typeof walletSchema>;
/** With its secret. */
export type WalletValue = Omit<StoredWallet, "secret"> & { readonly secret: WalletSecret };

export const walletRecords: RecordKind<StoredWallet> = { prefix: "wallet/", schema: walletSchema, settle };

/** Whose wallet: names of records begin with both, so that nobody can even name another's. */
export interface Owner {
  readonly appId: string;
  readonly userId: string;
}

export function walletName({ appId, userId }: Owner, walletId: string): string {
  return `${appId}/${userId}/${walletId}`;
}

/** What anybody may see of it. */
export function publicPart(walletId: string, { secret, accounts, createdAtMs }: StoredWallet): Wallet {
  const [first, ...others] = accounts;
  const kind = secret.kind === "split" ? custodyKind(secret) : secret.kind;
  const custody: Wallet["custody"] = secret.kind === "split" ? custodyOf(secret) : { kind: "whole" };
  return { walletId, kind, accounts: [publicAccount(first), ...others.map(publicAccount)], createdAtMs, custody };
}

export function publicAccount({ address, format, curve, publicKey, path }: HeldAccount): Account {
  return { address, format, curve, publicKey: encodeHex(publicKey), path };
}

/** With secrets of its own, to be wiped by itself. */
export function copyOf(wallet: StoredWallet): StoredWallet {
  const [first, ...others] = wallet.accounts;
  return {
    ...wallet,
    secret: copyOfSecret(wallet.secret),
    accounts: [copyOfAccount(first), ...others.map(copyOfAccount)],
  };
}

function copyOfAccount(account: HeldAccount): HeldAccount {
  const { privateKey } = account;
  return privateKey === null ? account : { ...account, privateKey: copyOffHeap(privateKey) };
}

function copyOfSecret(secret: StoredWallet["secret"]): StoredWallet["secret"] {
  switch (secret.kind) {
    case "split":
      return { ...secret, operatorShare: copyOffHeap(secret.operatorShare) };
    case "single-key":
      return { ...secret, privateKey: copyOffHeap(secret.privateKey) };
    case "hd":
      return { ...secret, entropy: copyOffHeap(secret.entropy), seed: copyOffHeap(secret.seed) };
  }
}

/** Secrets that lie on V8's heap, as what was decoded or made does. */
export function settle({ secret, accounts }: StoredWallet): void {
  for (const account of accounts) {
    if (account.privateKey !== null) account.privateKey = moveOffHeap(account.privateKey);
  }
  if (secret.kind === "split") secret.operatorShare = moveOffHeap(secret.operatorShare);
  else if (secret.kind === "single-key") secret.privateKey = moveOffHeap(secret.privateKey);
  else {
    secret.entropy = moveOffHeap(secret.entropy);
    secret.seed = moveOffHeap(secret.seed);
  }
}

export function wipe({ secret, accounts }: StoredWallet): void {
  for (const { privateKey } of accounts) privateKey?.fill(0);
  wipeSecret(secret);
}

export function wipeSecret(secret: StoredWallet["secret"]): void {
  if (secret.kind === "split") secret.operatorShare.fill(0);
  else if (secret.kind === "single-key") secret.privateKey.fill(0);
  else for (const bytes of [secret.entropy, secret.seed]) bytes.fill(0);
}
