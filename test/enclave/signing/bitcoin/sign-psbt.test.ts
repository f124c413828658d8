/** Whole signings, judged by bitcoinjs-lib's digests and noble's verification, and by the vectors of the BIPs. */
import { secp256k1 as noble, schnorr } from "@noble/curves/secp256k1.js";
import { Transaction as ScureTransaction } from "@scure/btc-signer/transaction.js";
import { Transaction as JudgeTransaction } from "bitcoinjs-lib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Authorised } from "../../../../enclave/policy/authorised.ts";
import { SCRIPT_KINDS, type ScriptKind, scriptOf } from "../../../../enclave/signing/bitcoin/scripts.ts";
import { digestOf } from "../../../../enclave/signing/bitcoin/sighash.ts";
import { signatureOf } from "../../../../enclave/signing/bitcoin/sign-psbt.ts";
import { type OpenWallet, secp256k1 } from "../../../../enclave/wallets/open-wallet.ts";
import {
  foreignScript,
  inputOf,
  type Known,
  keyAt,
  openHd,
  openSingleKey,
  outputOf,
  psbtOf,
  signBytes,
  standardPath,
} from "../../../support/bitcoin.ts";

let wallet: OpenWallet;
beforeAll(() => {
  wallet = openHd();
});
afterAll(() => wallet[Symbol.dispose]());

interface Spent {
  readonly known: Known;
  readonly amount: bigint;
}

/** Checks every witness and scriptSig of a finished transaction. */
function judge(bytes: Uint8Array, spent: readonly Spent[]): void {
  const transaction = JudgeTransaction.fromBuffer(bytes);
  const scripts = spent.map(({ known }) => known.script);
  const amounts = spent.map(({ amount }) => amount);
  for (const [at, { known, amount }] of spent.entries()) {
    const input = transaction.ins[at];
    if (input === undefined) throw new Error("an input is missing");
    if (known.kind === "p2tr") {
      const [signature = new Uint8Array(0)] = input.witness;
      const type = signature.length === 64 ? 0 : (signature[64] ?? 0);
      const digest = transaction.hashForWitnessV1(at, scripts, amounts, type);
      expect(schnorr.verify(signature.subarray(0, 64), digest, known.script.subarray(2))).toBe(true);
      continue;
    }
    const isLegacy = known.kind === "p2pkh";
    const pushes = isLegacy ? pushesOf(input.script) : input.witness;
    const [signature = new Uint8Array(0), publicKey] = pushes;
    expect(Buffer.from(publicKey ?? [])).toEqual(Buffer.from(known.publicKey));
    const type = signature.at(-1) ?? 0;
    const code = scriptOf("p2pkh", known.publicKey);
    const digest = isLegacy
      ? transaction.hashForSignature(at, code, type)
      : transaction.hashForWitnessV0(at, code, amount, type);
    const options = { format: "der", prehash: false, lowS: true } as const;
    expect(noble.verify(signature.subarray(0, -1), digest, known.publicKey, options)).toBe(true);
    const redeem = known.kind === "p2sh-p2wpkh" ? [scriptOf("p2wpkh", known.publicKey)] : [];
    if (!isLegacy) expect(pushesOf(input.script).map(hex)).toEqual(redeem.map(hex));
  }
}

function pushesOf(script: Uint8Array): Uint8Array[] {
  const pushes: Uint8Array[] = [];
  for (let at = 0; at < script.length; ) {
    const length = script[at] ?? 0;
    pushes.push(script.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
  return pushes;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe.each([0, 2] as const)("PSBT version %d", (PSBTVersion) => {
  test.each(SCRIPT_KINDS)("an input of %s is signed and finished", (kind) => {
    const known = keyAt(wallet, kind, standardPath(kind, 3));
    const bytes = psbtOf(
      [inputOf(known, 100_000n)],
      [
        { script: foreignScript("shop"), amount: 60_000n },
        outputOf(keyAt(wallet, kind, standardPath(kind, 0, 1)), 39_000n),
      ],
      { PSBTVersion },
    );
    const { final, bytes: signed } = signBytes(wallet, bytes);
    if (final === null) throw new Error("not finished");
    judge(final.bytes, [{ known, amount: 100_000n }]);
    expect(final.txid).toBe(JudgeTransaction.fromBuffer(final.bytes).getId());
    // The library's own finalizer comes to the same transaction from the PSBT that is answered.
    const theirs = ScureTransaction.fromPSBT(signed);
    theirs.finalize();
    expect(theirs.hex).toBe(hex(final.bytes));
  });

  test("inputs of all kinds at once, and the same answer when asked again", () => {
    const spent = SCRIPT_KINDS.map((kind, at) => ({
      known: keyAt(wallet, kind, standardPath(kind, at)),
      amount: 50_000n,
    }));
    const bytes = psbtOf(
      spent.map(({ known, amount }, salt) => inputOf(known, amount, salt)),
      [{ script: foreignScript("shop"), amount: 190_000n }],
      { PSBTVersion, lockTime: 800_000 },
    );
    const first = signBytes(wallet, bytes);
    if (first.final === null) throw new Error("not finished");
    judge(first.final.bytes, spent);
    expect(signBytes(wallet, bytes)).toEqual(first);
    // Signed again, signatures of before make way for the same ones.
    expect(signBytes(wallet, first.bytes)).toEqual(first);
  });
});

test.each(["NONE", "SINGLE", "ALL|ANYONECANPAY", "NONE|ANYONECANPAY", "SINGLE|ANYONECANPAY"] as const)(
  "%s covers what bitcoinjs-lib says it covers",
  (type) => {
    const byte = {
      NONE: 2,
      SINGLE: 3,
      "ALL|ANYONECANPAY": 0x81,
      "NONE|ANYONECANPAY": 0x82,
      "SINGLE|ANYONECANPAY": 0x83,
    }[type];
    const spent = SCRIPT_KINDS.map((kind, at) => ({
      known: keyAt(wallet, kind, standardPath(kind, at)),
      amount: 50_000n,
    }));
    const bytes = psbtOf(
      spent.map(({ known, amount }, salt) => inputOf(known, amount, salt, { sighashType: byte })),
      ["a", "b", "c", "d"].map((name) => ({ script: foreignScript(name), amount: 45_000n })),
    );
    const { final } = signBytes(wallet, bytes, { sighashTypes: [type] });
    if (final === null) throw new Error("not finished");
    judge(final.bytes, spent);
  },
);

test("BIP-370: what may still be changed is less once something is signed", () => {
  const known = keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0));
  const flagsAfter = (sighashType: number) => {
    const bytes = psbtOf(
      [inputOf(known, 50_000n, 0, { sighashType })],
      [{ script: foreignScript("a"), amount: 45_000n }],
      {
        PSBTVersion: 2,
      },
    );
    const { bytes: signed } = signBytes(wallet, bytes, {
      sighashTypes: ["NONE", "ALL|ANYONECANPAY", "SINGLE|ANYONECANPAY", "NONE|ANYONECANPAY"],
    });
    const global = (ScureTransaction.fromPSBT(signed) as unknown as { global: { txModifiable: number } }).global;
    return global.txModifiable;
  };
  expect([0x01, 0x02, 0x81, 0x82, 0x83].map(flagsAfter)).toEqual([0b000, 0b010, 0b001, 0b011, 0b101]);
});

test("an input of somebody else's leaves the transaction unfinished until it comes finished", () => {
  const own = keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0));
  using other = openHd([], 8);
  const theirs = keyAt(other, "p2wpkh", standardPath("p2wpkh", 0));
  const bytes = psbtOf(
    [inputOf(own, 50_000n), inputOf(theirs, 70_000n, 1)],
    [{ script: foreignScript("shop"), amount: 110_000n }],
  );
  const ours = signBytes(wallet, bytes);
  expect(ours.final).toBeNull();
  const both = signBytes(other, ours.bytes);
  expect(both.final).toBeNull();
  const finished = ScureTransaction.fromPSBT(both.bytes);
  finished.finalizeIdx(1);
  const { final } = signBytes(wallet, finished.toPSBT());
  if (final === null) throw new Error("not finished");
  judge(final.bytes, [
    { known: own, amount: 50_000n },
    { known: theirs, amount: 70_000n },
  ]);
});

describe("BIP-143", () => {
  test("native P2WPKH beside P2PK", () => {
    const key = "619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9";
    const raw =
      "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000";
    const signature =
      "304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f3358f51928d43c212a8caed02de67eebee01";
    expect(hex(vectorSignature(raw, 1, key, "p2wpkh", 600_000_000n))).toBe(signature);
  });

  test("P2SH-P2WPKH", () => {
    const key = "eb696a065ef48a2192da5b28b694f87544b30fae8327c4510137a922f32c6dcf";
    const raw =
      "0100000001db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000000feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac92040000";
    const signature =
      "3044022047ac8e878352d3ebbde1c94ce3a10d057c24175747116f8288e5d794d12d482f0220217f36a485cae903c713331d877c1f64677e3622ad4010726870540656fe9dcb01";
    expect(hex(vectorSignature(raw, 0, key, "p2sh-p2wpkh", 1_000_000_000n))).toBe(signature);
  });
});

/** Vectors give no previous transactions: their digest is signed, past the checks of amounts. */
function vectorSignature(rawHex: string, at: number, key: string, kind: ScriptKind, amountSats: bigint): Uint8Array {
  using single = openSingleKey(Buffer.from(key, "hex"), [`bitcoin-${kind}`]);
  const [account] = single.accounts;
  if (account === undefined) throw new Error("no account");
  const unsigned = ScureTransaction.fromRaw(Buffer.from(rawHex, "hex"), { allowUnknownOutputs: true });
  const slot = { kind: "p2wpkh", account, redeemScript: null } as const;
  const previous = { script: new Uint8Array(0), amountSats, isProven: true };
  const sighash = { byte: 1, type: "ALL" } as const;
  const digest = digestOf({ unsigned }, [previous, previous], at, slot, sighash);
  const authorised = {
    walletId: single.walletId,
    publicKeys: [account.publicKey],
    facts: { kind: "bitcoin-transaction" },
  } as unknown as Authorised;
  return single.sign(authorised, account, (signer) => signatureOf(secp256k1(signer), digest, slot, sighash));
}
