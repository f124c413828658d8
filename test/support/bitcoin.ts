/** A wallet of a known seed, and PSBTs that spend what it was paid, made by @scure/btc-signer. */
import { createHash } from "node:crypto";
import { OutScript } from "@scure/btc-signer/payment.js";
import { RawTx } from "@scure/btc-signer/script.js";
import { Transaction } from "@scure/btc-signer/transaction.js";
import type { Authorised } from "../../enclave/policy/authorised.ts";
import { OwnKeys } from "../../enclave/signing/bitcoin/own-keys.ts";
import { parsePsbt } from "../../enclave/signing/bitcoin/psbt.ts";
import { type ScriptKind, scriptOf } from "../../enclave/signing/bitcoin/scripts.ts";
import { type SignedPsbt, signPsbt } from "../../enclave/signing/bitcoin/sign-psbt.ts";
import { type Spend, understand } from "../../enclave/signing/bitcoin/spend.ts";
import { makeAccount } from "../../enclave/wallets/make-accounts.ts";
import { OpenWallet, secp256k1 } from "../../enclave/wallets/open-wallet.ts";
import type { WalletSecret } from "../../enclave/wallets/wallet-value.ts";
import type { AddressFormat, BitcoinNetworkName, OpenSighashType } from "../../protocol/index.ts";

const HARDENED = 0x8000_0000;
export const PURPOSE: Readonly<Record<ScriptKind, number>> = { p2pkh: 44, "p2sh-p2wpkh": 49, p2wpkh: 84, p2tr: 86 };

export interface Asked {
  readonly format: AddressFormat;
  readonly path: string;
}

/** Opens an `hd` wallet of one seed; with an Ethereum account, so that none of Bitcoin's is kept unless asked for. */
export function openHd(kept: readonly Asked[] = [], seedByte = 7): OpenWallet {
  const secret: WalletSecret = { kind: "hd", entropy: new Uint8Array(16), seed: new Uint8Array(64).fill(seedByte) };
  const accounts = [{ format: "ethereum", path: "m/44'/60'/0'/0/0" } as const, ...kept].map((asked) =>
    makeAccount({ ...asked, curve: "secp256k1" }, secret),
  );
  return open(secret, accounts);
}

export function openSingleKey(privateKey: Uint8Array, formats: readonly AddressFormat[]): OpenWallet {
  const secret: WalletSecret = { kind: "single-key", curve: "secp256k1", privateKey: Uint8Array.from(privateKey) };
  return open(
    secret,
    formats.map((format) => makeAccount({ format, curve: "secp256k1", path: null }, secret)),
  );
}

function open(secret: WalletSecret, accounts: ReturnType<typeof makeAccount>[]): OpenWallet {
  const [first, ...others] = accounts;
  if (first === undefined) throw new Error("a wallet has an account");
  const value = { secret, accounts: [first, ...others], createdAtMs: 0, exportedAtMs: null, importedAs: null };
  return new OpenWallet("wal_00", value as ConstructorParameters<typeof OpenWallet>[1]);
}

/** What policies would say to everything. */
export function allowed(wallet: OpenWallet, { accounts, facts }: Spend): Authorised {
  return {
    walletId: wallet.walletId,
    publicKeys: accounts.map(({ publicKey }) => publicKey),
    facts,
  } as unknown as Authorised;
}

export interface SignOptions {
  readonly network?: BitcoinNetworkName;
  readonly sighashTypes?: readonly OpenSighashType[];
}

export function understandBytes(wallet: OpenWallet, bytes: Uint8Array, options: SignOptions = {}): Spend {
  const own = new OwnKeys(wallet, options.network ?? "bitcoin");
  return understand(parsePsbt(bytes), own, options.sighashTypes ?? []);
}

export function signBytes(wallet: OpenWallet, bytes: Uint8Array, options: SignOptions = {}): SignedPsbt {
  const spend = understandBytes(wallet, bytes, options);
  const authorised = allowed(wallet, spend);
  return signPsbt(spend, (account, work) => wallet.sign(authorised, account, (signer) => work(secp256k1(signer))));
}

/** `[44', 0', 0', 0, 5]` for the fifth receiving address of P2PKH. */
export function standardPath(kind: ScriptKind, index: number, chain: 0 | 1 = 0, coin = 0): number[] {
  return [HARDENED + PURPOSE[kind], HARDENED + coin, HARDENED, chain, index];
}

export function textOf(path: readonly number[]): string {
  return ["m", ...path.map((step) => (step >= HARDENED ? `${step - HARDENED}'` : `${step}`))].join("/");
}

/** A key of the wallet, as a PSBT tells of it. */
export interface Known {
  readonly kind: ScriptKind;
  readonly path: readonly number[];
  readonly publicKey: Uint8Array;
  readonly script: Uint8Array;
  readonly fingerprint: number;
}

export function keyAt(wallet: OpenWallet, kind: ScriptKind, path: readonly number[]): Known {
  const publicKey = Buffer.from(wallet.accountAt(textOf(path), `bitcoin-${kind}`).publicKey, "hex");
  const fingerprint = Buffer.from(wallet.masterFingerprint() ?? []).readUInt32BE();
  return { kind, path, publicKey, script: scriptOf(kind, publicKey), fingerprint };
}

export function derivationOf({ kind, publicKey, fingerprint, path }: Known): Record<string, unknown> {
  const der = { fingerprint, path: [...path] };
  if (kind !== "p2tr") return { bip32Derivation: [[publicKey, der]] };
  return { tapInternalKey: publicKey.subarray(1), tapBip32Derivation: [[publicKey.subarray(1), { hashes: [], der }]] };
}

/** A transaction that pays to a script, and some change to its payer. */
export function payment(script: Uint8Array, amount: bigint, salt: number): { bytes: Uint8Array; txid: Uint8Array } {
  const bytes = RawTx.encode({
    ...{ version: 2, lockTime: salt, segwitFlag: false, witnesses: [] },
    inputs: [{ txid: new Uint8Array(32).fill(9), index: 0, finalScriptSig: new Uint8Array(0), sequence: 0xffff_ffff }],
    outputs: [
      { amount: 12_345n, script: foreignScript("somebody's change") },
      { amount, script },
    ],
  });
  return { bytes, txid: sha256(sha256(bytes)).reverse() };
}

/** P2WPKH of nobody's key. */
export function foreignScript(name: string): Uint8Array {
  return OutScript.encode({ type: "wpkh", hash: sha256(Buffer.from(name)).subarray(0, 20) });
}

export type InputParts = Parameters<Transaction["addInput"]>[0];
export type OutputParts = Parameters<Transaction["addOutput"]>[0];

/** An input that spends a payment to one of the wallet's keys, with all that can be said of it. */
export function inputOf(known: Known, amount: bigint, salt = 0, more: object = {}): InputParts {
  const { bytes, txid } = payment(known.script, amount, salt);
  return {
    ...{ txid, index: 1, nonWitnessUtxo: bytes, sequence: 0xffff_fffd },
    ...(known.kind === "p2sh-p2wpkh" ? { redeemScript: scriptOf("p2wpkh", known.publicKey) } : {}),
    ...derivationOf(known),
    ...more,
  } as InputParts;
}

export function outputOf(known: Known, amount: bigint): OutputParts {
  return { script: known.script, amount, ...derivationOf(known) } as OutputParts;
}

export function psbtOf(
  inputs: readonly InputParts[],
  outputs: readonly OutputParts[],
  options: ConstructorParameters<typeof Transaction>[0] = {},
): Uint8Array {
  const transaction = new Transaction({
    allowUnknownOutputs: true,
    disableScriptCheck: true,
    unknown: "ignore",
    ...options,
  });
  for (const input of inputs) transaction.addInput(input, true);
  for (const output of outputs) transaction.addOutput(output, true);
  return transaction.toPSBT(options.PSBTVersion ?? 0);
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
