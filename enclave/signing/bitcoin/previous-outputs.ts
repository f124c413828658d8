/**
 * What inputs spend. A PSBT says it, and may lie. `nonWitnessUtxo` is the whole transaction that made the output, and its
 * hash is the id that the input names: it proves. `witnessUtxo` proves nothing: what BIP-143 signs covers the amount of the
 * signed input alone, so that two requests with one lie each can get two good signatures and a fee that nobody was shown
 * (docs/signing-bitcoin.md, "Amounts").
 */
import { hash } from "node:crypto";
import { RawTx } from "@scure/btc-signer/script.js";
import { encodeHex, RequestError } from "../../../protocol/index.ts";
import { malformed } from "./malformed.ts";
import { equal, MAX_SATS, type Psbt, type PsbtInput } from "./psbt.ts";

export interface PreviousOutput {
  readonly script: Uint8Array;
  readonly amountSats: bigint;
  /** By the transaction that made it. */
  readonly isProven: boolean;
}

/** @throws {@link RequestError} `AMOUNT_UNVERIFIED` where nothing is said, or what proves it is of something else */
export function previousOutputs(psbt: Psbt): readonly PreviousOutput[] {
  const outputs = psbt.inputs.map(previousOutput);
  for (const [at, { amountSats }] of outputs.entries()) {
    if (amountSats > MAX_SATS) malformed(`input ${at}: more than there can be`);
  }
  return outputs;
}

export function unverified(at: number, why: string): never {
  throw new RequestError("AMOUNT_UNVERIFIED", `input ${at}: ${why}`);
}

function previousOutput({ map, txid, index }: PsbtInput, at: number): PreviousOutput {
  const { nonWitnessUtxo, witnessUtxo } = map;
  if (nonWitnessUtxo === undefined) {
    if (witnessUtxo === undefined) unverified(at, "nothing says what it spends");
    return { script: witnessUtxo.script, amountSats: witnessUtxo.amount, isProven: false };
  }
  if (!equal(idOf(nonWitnessUtxo), txid)) {
    unverified(at, `nonWitnessUtxo is not the transaction ${encodeHex(txid)}`);
  }
  const output = nonWitnessUtxo.outputs[index];
  if (output === undefined) unverified(at, `the transaction has no output ${index}`);
  if (
    witnessUtxo !== undefined &&
    (witnessUtxo.amount !== output.amount || !equal(witnessUtxo.script, output.script))
  ) {
    unverified(at, "witnessUtxo and nonWitnessUtxo contradict each other");
  }
  return { script: output.script, amountSats: output.amount, isProven: true };
}

/** Without witnesses (BIP-141, "Transaction ID"), in the order that explorers write it in. */
export function idOf(transaction: Parameters<typeof RawTx.encode>[0]): Uint8Array {
  const bytes = RawTx.encode({ ...transaction, segwitFlag: false });
  return hash("sha256", hash("sha256", bytes, "buffer"), "buffer").reverse();
}
