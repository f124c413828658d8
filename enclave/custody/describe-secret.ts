/** What a rebuilt secret is, for whoever has rebuilt it outside: the same derivation as in the enclave. */
import type { Account, SecretKind } from "../../protocol/index.ts";
import { makeWallet } from "../wallets/make-wallet.ts";
import { mnemonicOf, seedOf } from "../wallets/mnemonic.ts";
import { publicAccount, type WalletSecret, wipe } from "../wallets/wallet-value.ts";
import { secretOfBytes } from "./put-together.ts";

export interface DescribedSecret {
  /** BIP-39's words, or the key in hex. It stays in memory until it is collected. */
  readonly text: string;
  readonly accounts: readonly Account[];
}

/**
 * @param bytes - Of a secret, as shares give it; the caller wipes it.
 * @throws Error for entropy and seed that do not belong together
 */
export async function describeSecret(kind: SecretKind, bytes: Uint8Array): Promise<DescribedSecret> {
  const secret = secretOfBytes(kind, bytes);
  const text = await textOf(secret);
  const formats =
    secret.kind === "hd"
      ? (["ethereum", "solana", "bitcoin-p2wpkh", "bitcoin-p2tr"] as const).map((format) => ({ format }))
      : undefined;
  const wallet = makeWallet(secret, formats, 0);
  try {
    return { text, accounts: wallet.accounts.map(publicAccount) };
  } finally {
    wipe(wallet);
  }
}

async function textOf(secret: WalletSecret): Promise<string> {
  if (secret.kind === "single-key") return Buffer.from(secret.privateKey).toString("hex");
  const words = mnemonicOf(secret.entropy);
  const seed = await seedOf(words);
  try {
    if (Buffer.compare(seed, secret.seed) !== 0) throw new Error("the words and the seed do not belong together");
    return words.toString("ascii");
  } finally {
    words.fill(0);
    seed.fill(0);
  }
}
