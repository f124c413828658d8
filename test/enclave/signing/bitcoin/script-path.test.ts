/** BIP-341's script path: leaves that ask for a key of the wallet. */
import { schnorr } from "@noble/curves/secp256k1.js";
import { Transaction as ScureTransaction } from "@scure/btc-signer/transaction.js";
import { Transaction as JudgeTransaction } from "bitcoinjs-lib";
import { describe, expect, test } from "vitest";
import { merkleRootOf, tapLeafHash, taprootOutput } from "../../../../enclave/signing/bitcoin/taproot.ts";
import {
  foreignScript,
  type InputParts,
  keyAt,
  openHd,
  psbtOf,
  signBytes,
  standardPath,
  textOf,
  understandBytes,
} from "../../../support/bitcoin.ts";

const wallet = openHd();
const own = keyAt(wallet, "p2tr", standardPath("p2tr", 4));
const xOnly = own.publicKey.subarray(1);
const theirs = keyAt(openHd([], 8), "p2tr", standardPath("p2tr", 0)).publicKey.subarray(1);
const CHECKSIG = 0xac;
const checksig = (key: Uint8Array) => Buffer.concat([Uint8Array.of(32), key, Uint8Array.of(CHECKSIG)]);

interface Spend {
  readonly script?: Uint8Array;
  readonly internalKey?: Uint8Array;
  readonly version?: number;
  readonly parityFlipped?: boolean;
  readonly more?: object;
  readonly derivation?: { readonly fingerprint: number; readonly path: readonly number[] };
}

/** An input of an output with two leaves; `script` is the one that its control block leads to. */
function spend({ script = checksig(xOnly), internalKey = theirs, version = 0xc0, ...options }: Spend = {}) {
  const leafHash = tapLeafHash(script);
  const merklePath = [tapLeafHash(Uint8Array.of(0x51))];
  const root = merkleRootOf(leafHash, merklePath);
  const output = taprootOutput(internalKey, root);
  if (output === undefined) throw new Error("no output key");
  const parity = options.parityFlipped === true ? 1 - output.parity : output.parity;
  const spent = Buffer.concat([Uint8Array.of(0x51, 32), output.xOnly]);
  const der = options.derivation ?? { fingerprint: own.fingerprint, path: own.path };
  const input = {
    ...{ txid: new Uint8Array(32).fill(2), index: 0, witnessUtxo: { script: spent, amount: 10_000n } },
    tapLeafScript: [
      [{ version: version | parity, internalKey, merklePath }, Buffer.concat([script, Uint8Array.of(version)])],
    ],
    tapBip32Derivation: [[xOnly, { hashes: [leafHash], der }]],
    ...options.more,
  } as unknown as InputParts;
  return { bytes: psbtOf([input], [{ script: foreignScript("shop"), amount: 9_000n }]), leafHash, spent, root };
}

test("a leaf that wants this signature and nothing else is signed and finished", () => {
  const { bytes, leafHash, spent } = spend();
  const { final, bytes: signed } = signBytes(wallet, bytes);
  if (final === null) throw new Error("not finished");
  const transaction = JudgeTransaction.fromBuffer(final.bytes);
  const [signature = new Uint8Array(0), script, controlBlock] = transaction.ins[0]?.witness ?? [];
  const digest = transaction.hashForWitnessV1(0, [spent], [10_000n], 0, leafHash);
  expect(schnorr.verify(signature, digest, xOnly)).toBe(true);
  expect(Buffer.from(script ?? [])).toEqual(checksig(xOnly));
  expect(controlBlock).toHaveLength(65);
  const library = ScureTransaction.fromPSBT(signed);
  library.finalize();
  expect(library.hex).toBe(Buffer.from(final.bytes).toString("hex"));
});

test("a leaf that wants more is signed, and left to whoever knows what", () => {
  const two = Buffer.concat([Uint8Array.of(32), theirs, Uint8Array.of(0xad), checksig(xOnly)]);
  const { bytes, leafHash, spent } = spend({ script: two });
  const { final, bytes: signed } = signBytes(wallet, bytes);
  expect(final).toBeNull();
  const input = ScureTransaction.fromPSBT(signed).getInput(0);
  const [[key, signature] = [undefined, new Uint8Array(0)]] = input.tapScriptSig ?? [];
  expect(Buffer.from(key?.pubKey ?? [])).toEqual(Buffer.from(xOnly));
  const unsigned = JudgeTransaction.fromBuffer(ScureTransaction.fromPSBT(bytes).unsignedTx);
  const digest = unsigned.hashForWitnessV1(0, [spent], [10_000n], 0, leafHash);
  expect(schnorr.verify(signature, digest, xOnly)).toBe(true);
});

test("the internal key signs by the key path, tweaked by the scripts beside it", () => {
  const { bytes, spent, root } = spend({ script: checksig(theirs), internalKey: xOnly });
  const withRoot = ScureTransaction.fromPSBT(bytes);
  withRoot.updateInput(0, { tapInternalKey: xOnly, tapMerkleRoot: root });
  const { final } = signBytes(wallet, withRoot.toPSBT());
  if (final === null) throw new Error("not finished");
  const transaction = JudgeTransaction.fromBuffer(final.bytes);
  const [signature = new Uint8Array(0), ...rest] = transaction.ins[0]?.witness ?? [];
  expect(rest).toEqual([]);
  expect(schnorr.verify(signature, transaction.hashForWitnessV1(0, [spent], [10_000n], 0), spent.subarray(2))).toBe(
    true,
  );
});

test("of an output with scripts beside its key, a PSBT must say the key: not each of the wallet's is tried", () => {
  const kept = openHd([{ format: "bitcoin-p2tr", path: textOf(own.path) }]);
  const { bytes, root } = spend({ script: checksig(theirs), internalKey: xOnly });
  const { txid, index, witnessUtxo } = ScureTransaction.fromPSBT(bytes).getInput(0);
  const asked = (more: object) =>
    psbtOf(
      [{ txid, index, witnessUtxo, tapMerkleRoot: root, ...more } as InputParts],
      [{ script: foreignScript("shop"), amount: 9_000n }],
    );
  expect(understandBytes(kept, asked({ tapInternalKey: xOnly })).tasks).toHaveLength(1);
  expect(() => understandBytes(kept, asked({}))).toThrow(expect.objectContaining({ code: "NOTHING_TO_SIGN" }));
});

describe("NOTHING_TO_SIGN", () => {
  const codeSeparator = Buffer.concat([Uint8Array.of(0xab), checksig(xOnly)]);
  const success = Buffer.concat([Uint8Array.of(0xfe), checksig(xOnly)]);
  test.each<[string, Spend]>([
    ["a leaf without a key of the wallet", { script: checksig(theirs) }],
    ["a leaf version that means nothing yet", { version: 0xc2 }],
    ["a control block of the other parity", { parityFlipped: true }],
    ["a leaf in which a signature's place matters", { script: codeSeparator }],
    ["a leaf that cannot be read", { script: success }],
    [
      "a leaf that is none of this output's",
      { more: { witnessUtxo: { script: own.script, amount: 10_000n }, tapInternalKey: theirs } },
    ],
    ["another's fingerprint", { derivation: { fingerprint: 1, path: own.path } }],
    ["another path", { derivation: { fingerprint: own.fingerprint, path: standardPath("p2tr", 5) } }],
  ])("%s", (_name, parts) => {
    const { bytes } = spend(parts);
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "NOTHING_TO_SIGN" }));
  });
});
