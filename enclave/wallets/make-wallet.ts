/** Wallets as they are born. */
import type { Curve, NewAccount, NewWallet } from "../../protocol/index.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { isPrivateKey } from "./curves.ts";
import { exactAccount, isSame, makeAccount } from "./make-accounts.ts";
import { mnemonicOf, seedOf } from "./mnemonic.ts";
import { type HdSecret, settle, type WalletSecret, type WalletValue, wipeSecret } from "./wallet-value.ts";

/** BIP-39: 32 bits of entropy for every three words. */
const BYTES_PER_THREE_WORDS = 4;
const DEFAULT_WORDS = 12;

/** The account that a wallet gets unasked. */
const FIRST_ACCOUNT: Readonly<Record<Curve, NewAccount>> = {
  secp256k1: { format: "ethereum" },
  ed25519: { format: "solana" },
  p256: { format: "none" },
};

/** New entropy, or a new key. */
export async function makeSecret(asked: NewWallet, randomness: Randomness): Promise<WalletSecret> {
  if (asked.kind === "hd") {
    return await hdSecretOf(randomness.bytes(((asked.words ?? DEFAULT_WORDS) / 3) * BYTES_PER_THREE_WORDS));
  }
  const { curve = "secp256k1" } = asked;
  for (;;) {
    const privateKey = randomness.bytes(32);
    if (isPrivateKey(curve, privateKey)) return { kind: "single-key", curve, privateKey };
  }
}

/** Takes the entropy over. */
export async function hdSecretOf(entropy: Uint8Array): Promise<HdSecret> {
  const mnemonic = mnemonicOf(entropy);
  try {
    return { kind: "hd", entropy, seed: await seedOf(mnemonic) };
  } finally {
    mnemonic.fill(0);
  }
}

/**
 * Takes the secret over: it is wiped if this throws.
 *
 * @throws {@link RequestError} `INVALID_PARAMS` for accounts that such a wallet cannot have
 */
export function makeWallet(
  secret: WalletSecret,
  accounts: readonly NewAccount[] | undefined,
  createdAtMs: number,
): WalletValue {
  try {
    const asked = accounts ?? [FIRST_ACCOUNT[secret.kind === "hd" ? "secp256k1" : secret.curve]];
    const exact = asked.map((account) => exactAccount(account, secret));
    const [first, ...others] = exact
      .filter((account, at) => exact.findIndex((other) => isSame(account, other)) === at)
      .map((account) => makeAccount(account, secret));
    if (first === undefined) throw new Error("unreachable: a wallet is asked for with an account");
    const made: WalletValue = {
      secret,
      accounts: [first, ...others],
      createdAtMs,
      exportedAtMs: null,
      importedAs: null,
    };
    settle(made);
    return made;
  } catch (error) {
    wipeSecret(secret);
    throw error;
  }
}

/** Whether a wallet is what was asked for, so that who asked again may have it. It may have got more accounts since. */
export function isAsAsked({ secret, accounts }: WalletValue, asked: NewWallet): boolean {
  if (secret.kind !== asked.kind) return false;
  if (secret.kind === "hd") {
    if (secret.entropy.length !== ((asked.words ?? DEFAULT_WORDS) / 3) * BYTES_PER_THREE_WORDS) return false;
  } else if (secret.curve !== (asked.curve ?? "secp256k1")) return false;
  return (asked.accounts ?? []).every((account) => {
    const exact = exactAccount(account, secret);
    return accounts.some((held) => isSame(held, exact));
  });
}
