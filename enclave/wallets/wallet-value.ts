/** What the vault holds of a wallet. */
import {
  type Account,
  ADDRESS_FORMATS,
  bytesOf,
  bytesUpTo,
  CURVES,
  encodeHex,
  MAX_ACCOUNTS,
  z,
} from "../../protocol/index.ts";

const heldAccount = z.strictObject({
  address: z.string(),
  format: z.enum(ADDRESS_FORMATS),
  curve: z.enum(CURVES),
  publicKey: bytesUpTo(33),
  path: z.nullable(z.string()),
  /** The key that signs: derived once. */
  privateKey: bytesOf(32),
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

export const walletSchema = z.strictObject({
  secret: walletSecret,
  accounts: heldAccounts,
  createdAtMs: z.int(),
  /** When it was last exported; null for never. */
  exportedAtMs: z.nullable(z.int()),
  /** SHA-256 of the bundle that it came in, so that the import which is asked for again finds it; null if made here. */
  importedAs: z.nullable(bytesOf(32)),
});
export type WalletValue = z.output<typeof walletSchema>;

export function publicAccount({ address, format, curve, publicKey, path }: HeldAccount): Account {
  return { address, format, curve, publicKey: encodeHex(publicKey), path };
}

export function wipe({ secret, accounts }: WalletValue): void {
  for (const { privateKey } of accounts) privateKey.fill(0);
  wipeSecret(secret);
}

export function wipeSecret(secret: WalletSecret): void {
  if (secret.kind === "single-key") secret.privateKey.fill(0);
  else for (const bytes of [secret.entropy, secret.seed]) bytes.fill(0);
}
