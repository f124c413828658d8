/** PSBTs beside @scure/btc-signer, which gets the same bytes and the key, and signs and finishes all inputs. */
import { Transaction } from "@scure/btc-signer/transaction.js";
import { type ScriptKind, scriptOf } from "../../enclave/signing/bitcoin/scripts.ts";
import { derivePrivateKey } from "../../enclave/wallets/bip32.ts";
import {
  foreignScript,
  inputOf,
  keyAt,
  openHd,
  openSingleKey,
  outputOf,
  psbtOf,
  signBytes,
  standardPath,
} from "../../test/support/bitcoin.ts";
import type { SigningRow } from "./signing-row.ts";

const KEY = new Uint8Array(32).fill(0x46);

export async function bitcoinRows(): Promise<readonly SigningRow[]> {
  return [
    row("P2WPKH, one input", ["p2wpkh"]),
    row("P2TR key path, one input", ["p2tr"]),
    row("P2PKH, one input", ["p2pkh"]),
    row(
      "P2WPKH, ten inputs",
      Array.from({ length: 10 }, () => "p2wpkh" as const),
    ),
    row(
      "P2TR key path, ten inputs",
      Array.from({ length: 10 }, () => "p2tr" as const),
    ),
    derivedRow(),
  ];
}

/** A key that the wallet keeps: both sides have it at hand. */
function row(name: string, kinds: readonly ScriptKind[]): SigningRow {
  const wallet = openSingleKey(KEY, ["bitcoin-p2wpkh", "bitcoin-p2tr", "bitcoin-p2pkh"]);
  const account = wallet.accounts[0];
  if (account === undefined) throw new Error("no account");
  const publicKey = Buffer.from(account.publicKey, "hex");
  const bytes = psbtOf(
    kinds.map((kind, salt) => {
      const known = { ...keyAt(openHd(), kind, standardPath(kind, 0)), publicKey, script: scriptOf(kind, publicKey) };
      return inputOf(known, 100_000n, salt);
    }),
    [
      { script: foreignScript("shop"), amount: 50_000n },
      { script: foreignScript("another"), amount: 40_000n },
    ],
  );
  return {
    name: `bitcoin: ${name}`,
    peer: "@scure/btc-signer",
    ours: () => finished(wallet, bytes),
    theirs: () => theirs(bytes, KEY),
  };
}

/** A key that is derived for the occasion, and change that is recognised; the peer is given the key. */
function derivedRow(): SigningRow {
  const wallet = openHd();
  const change = keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 1, 1));
  const bytes = psbtOf(
    [inputOf(keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0)), 100_000n)],
    [outputOf(change, 90_000n)],
  );
  const key = derivePrivateKey(new Uint8Array(64).fill(7), "m/84'/0'/0'/0/0");
  return {
    ...{ name: "bitcoin: P2WPKH, derived, with change", peer: "@scure/btc-signer" },
    ours: () => finished(wallet, bytes),
    theirs: () => theirs(bytes, key),
  };
}

function finished(wallet: ReturnType<typeof openHd>, bytes: Uint8Array): Uint8Array {
  const { final } = signBytes(wallet, bytes);
  // A bench that counted refusals as work would be fast and worthless.
  if (final === null) throw new Error("not finished");
  return final.bytes;
}

function theirs(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const transaction = Transaction.fromPSBT(bytes);
  transaction.sign(key);
  transaction.finalize();
  return transaction.extract();
}
