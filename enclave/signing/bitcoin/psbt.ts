/**
 * PSBTs: BIP-174 (version 0), BIP-370 (version 2), BIP-371 (taproot). @scure/btc-signer reads them; what it would let
 * pass is refused here: a spelling that it would not write itself, and fields that this code does not know the sense of.
 */
import {
  type PSBTGlobal,
  type PSBTInput,
  type PSBTKeyMapKeys,
  type PSBTOutput,
  RawPSBTV0,
  RawPSBTV2,
  type TransactionInput,
  type TransactionOutput,
} from "@scure/btc-signer/psbt.js";
import { RawOldTx } from "@scure/btc-signer/script.js";
import { Transaction } from "@scure/btc-signer/transaction.js";
import { encodeHex } from "../../../protocol/index.ts";
import { malformed } from "./malformed.ts";

/** Each input costs a signature, and for version 0 of segwit a hash over all of them. */
export const MAX_INPUTS = 100;
export const MAX_OUTPUTS = 250;
/** Bitcoin Core, consensus/amount.h, MAX_MONEY: 21 million bitcoins. */
export const MAX_SATS = 2_100_000_000_000_000n;

export type InputMap = TransactionInput;
export type OutputMap = TransactionOutput;
export type GlobalMap = PSBTKeyMapKeys<typeof PSBTGlobal>;
interface RawPsbt {
  readonly global: GlobalMap;
  readonly inputs: InputMap[];
  readonly outputs: OutputMap[];
}

export interface PsbtInput {
  /** 32 bytes, in the order that explorers write them in. */
  readonly txid: Uint8Array;
  readonly index: number;
  readonly sequence: number;
  readonly map: InputMap;
}
export interface PsbtOutput {
  readonly script: Uint8Array;
  readonly amountSats: bigint;
  readonly map: OutputMap;
}

export interface Psbt {
  readonly version: 0 | 2;
  readonly global: GlobalMap;
  readonly inputs: readonly PsbtInput[];
  readonly outputs: readonly PsbtOutput[];
  /** What is to be signed, without a word of what it spends. The library hashes it. */
  readonly unsigned: Transaction;
}

/** What is passed on but says nothing to this code: hash preimages, which other spenders of a script may need. */
const PREIMAGES = ["ripemd160", "sha256", "hash160", "hash256"] as const;

/** Left out: proprietary fields, silent payments, MuSig2, proofs of reserves, tweaks, messages, names. */
const GLOBAL_FIELDS: ReadonlySet<string> = new Set<keyof typeof PSBTGlobal>([
  ...(["unsignedTx", "xpub", "txVersion", "fallbackLocktime"] as const),
  ...(["inputCount", "outputCount", "txModifiable", "version"] as const),
]);
const INPUT_FIELDS: ReadonlySet<string> = new Set<keyof typeof PSBTInput>([
  ...(["nonWitnessUtxo", "witnessUtxo", "partialSig", "sighashType", "redeemScript", "witnessScript"] as const),
  ...(["bip32Derivation", "finalScriptSig", "finalScriptWitness", ...PREIMAGES] as const),
  ...(["txid", "index", "sequence", "requiredTimeLocktime", "requiredHeightLocktime"] as const),
  ...(["tapKeySig", "tapScriptSig", "tapLeafScript", "tapBip32Derivation", "tapInternalKey"] as const),
  "tapMerkleRoot",
]);
const OUTPUT_FIELDS: ReadonlySet<string> = new Set<keyof typeof PSBTOutput>([
  ...(["redeemScript", "witnessScript", "bip32Derivation", "amount", "script"] as const),
  ...(["tapInternalKey", "tapTree", "tapBip32Derivation"] as const),
]);

/** Bits of BIP-370's PSBT_GLOBAL_TX_MODIFIABLE. */
const KNOWN_MODIFIABLE = 0b111;
/** BIP-68 and TRUC (BIP-431): what nodes relay. */
const TRANSACTION_VERSIONS = [1, 2, 3];

/**
 * Reads a PSBT whole.
 *
 * @throws {@link RequestError} `TRANSACTION_MALFORMED`
 */
export function parsePsbt(bytes: Uint8Array): Psbt {
  const raw = decode(bytes);
  const version = raw.global.version ?? 0;
  if (version !== 0 && version !== 2) malformed(`PSBT version ${version}`);
  if (!equal(encodeRaw(version, raw), bytes)) malformed("the PSBT has another spelling: sort its keys, say each once");
  checkFields(raw);
  const { unsignedTx } = raw.global;
  const inputs = raw.inputs.map((map, at) => inputOf(map, unsignedTx?.inputs[at], at));
  const outputs = raw.outputs.map((map, at) => outputOf(map, unsignedTx?.outputs[at], at));
  checkSizes(inputs, outputs);
  const unsigned = transactionOf(raw.global, inputs, outputs);
  if (unsignedTx !== undefined && !equal(RawOldTx.encode(unsignedTx), unsigned.unsignedTx)) {
    malformed("the unsigned transaction is another one when it is put together again");
  }
  return { version, global: raw.global, inputs, outputs, unsigned };
}

/** @param inputs - The maps of its inputs, with signatures. */
export function encodePsbt(psbt: Psbt, global: GlobalMap, inputs: InputMap[]): Uint8Array {
  return encodeRaw(psbt.version, { global, inputs, outputs: psbt.outputs.map(({ map }) => map) });
}

export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function decode(bytes: Uint8Array): RawPsbt {
  try {
    return plain(RawPSBTV0.decode(bytes));
  } catch (error) {
    try {
      return plain(RawPSBTV2.decode(bytes));
    } catch {
      malformed(`not a PSBT: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`);
    }
  }
}

/** What coders give, by the types that the library has for it elsewhere: its coders' own are for reading alone. */
function plain(decoded: ReturnType<typeof RawPSBTV0.decode> | ReturnType<typeof RawPSBTV2.decode>): RawPsbt {
  return decoded as RawPsbt;
}

function encodeRaw(version: 0 | 2, raw: RawPsbt): Uint8Array {
  try {
    const coder = version === 0 ? RawPSBTV0 : RawPSBTV2;
    return coder.encode(raw as Parameters<typeof coder.encode>[0]);
  } catch {
    malformed("the PSBT cannot be written again");
  }
}

function checkFields({ global, inputs, outputs }: RawPsbt): void {
  const maps = [
    { name: "the global map", map: global, known: GLOBAL_FIELDS },
    ...inputs.map((map, at) => ({ name: `input ${at}`, map, known: INPUT_FIELDS })),
    ...outputs.map((map, at) => ({ name: `output ${at}`, map, known: OUTPUT_FIELDS })),
  ];
  for (const { name, map, known } of maps) {
    for (const field of Object.keys(map)) if (!known.has(field)) malformed(`${name}: field ${field} is not taken`);
  }
  if (((global.txModifiable ?? 0) & ~KNOWN_MODIFIABLE) !== 0) malformed("unknown bits in the modifiable flags");
}

type RawTransaction = NonNullable<GlobalMap["unsignedTx"]>;

function inputOf(map: InputMap, unsigned: RawTransaction["inputs"][number] | undefined, at: number): PsbtInput {
  const { txid, index, sequence } = unsigned ?? map;
  if (txid === undefined || index === undefined) malformed(`input ${at}: what it spends is not said`);
  // BIP-370: final, unless it says otherwise.
  return { txid, index, sequence: sequence ?? 0xffff_ffff, map };
}

function outputOf(map: OutputMap, unsigned: RawTransaction["outputs"][number] | undefined, at: number): PsbtOutput {
  const { script, amount } = unsigned ?? map;
  if (script === undefined || amount === undefined) malformed(`output ${at}: script or amount is not said`);
  if (amount > MAX_SATS) malformed(`output ${at}: more than there can be`);
  return { script, amountSats: amount, map };
}

function checkSizes(inputs: readonly PsbtInput[], outputs: readonly PsbtOutput[]): void {
  if (inputs.length === 0 || inputs.length > MAX_INPUTS)
    malformed(`${inputs.length} inputs, expected 1 to ${MAX_INPUTS}`);
  if (outputs.length === 0 || outputs.length > MAX_OUTPUTS)
    malformed(`${outputs.length} outputs, expected 1 to ${MAX_OUTPUTS}`);
  const outpoints = new Set(inputs.map(({ txid, index }) => `${encodeHex(txid)}:${index}`));
  if (outpoints.size !== inputs.length) malformed("two inputs spend the same output");
}

function transactionOf(global: GlobalMap, inputs: readonly PsbtInput[], outputs: readonly PsbtOutput[]): Transaction {
  const version = global.unsignedTx?.version ?? global.txVersion ?? 0;
  if (!TRANSACTION_VERSIONS.includes(version)) malformed(`transaction version ${version}`);
  const lockTime = global.unsignedTx?.lockTime ?? global.fallbackLocktime ?? 0;
  try {
    const transaction = new Transaction({ version, lockTime, allowUnknownOutputs: true, disableScriptCheck: true });
    for (const { txid, index, sequence, map } of inputs) {
      const { requiredTimeLocktime: time, requiredHeightLocktime: height } = map;
      const locks = {
        ...(time === undefined ? {} : { requiredTimeLocktime: time }),
        ...(height === undefined ? {} : { requiredHeightLocktime: height }),
      };
      transaction.addInput({ txid, index, sequence, ...locks }, true);
    }
    for (const { script, amountSats } of outputs) transaction.addOutput({ script, amount: amountSats }, true);
    return transaction;
  } catch (error) {
    malformed(`not a transaction: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`);
  }
}
