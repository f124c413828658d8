/**
 * The transaction that comes of a PSBT once all signatures are there (BIP-174, "Input Finalizer"). Inputs of single keys are
 * finished here; others' inputs have to come finished, and are taken as they are: if they are wrong, no node takes it.
 */
import { RawTx } from "@scure/btc-signer/script.js";
import { encodeHex } from "../../../protocol/index.ts";
import { idOf } from "./previous-outputs.ts";
import { equal, type InputMap, type Psbt } from "./psbt.ts";
import type { Slot } from "./slots.ts";
import { isFinal, type Task } from "./spend.ts";

export interface FinalTransaction {
  readonly bytes: Uint8Array;
  readonly txid: string;
}

interface Unlocking {
  readonly scriptSig: Uint8Array;
  readonly witness: readonly Uint8Array[];
}

const OP_CHECKSIG = 0xac;
const NOTHING = new Uint8Array(0);

/** @returns Null where an input cannot be finished yet. */
export function finalize(psbt: Psbt, signed: readonly InputMap[], tasks: readonly Task[]): FinalTransaction | null {
  const unlocking = signed.map((map, at) =>
    isFinal(map)
      ? { scriptSig: map.finalScriptSig ?? NOTHING, witness: map.finalScriptWitness ?? [] }
      : unlock(map, tasks.find((task) => task.at === at)?.slots ?? []),
  );
  const complete = unlocking.filter((one) => one !== null);
  if (complete.length < unlocking.length) return null;
  const { version, lockTime } = psbt.unsigned;
  const transaction = {
    ...{ version, lockTime, segwitFlag: complete.some(({ witness }) => witness.length > 0) },
    inputs: psbt.inputs.map(({ txid, index, sequence }, at) => {
      return { txid, index, sequence, finalScriptSig: complete[at]?.scriptSig ?? NOTHING };
    }),
    outputs: psbt.outputs.map(({ script, amountSats }) => ({ script, amount: amountSats })),
    witnesses: complete.map(({ witness }) => [...witness]),
  };
  return { bytes: RawTx.encode(transaction), txid: encodeHex(idOf(transaction)) };
}

/** The first of the signatures that is enough by itself. */
function unlock(map: InputMap, slots: readonly Slot[]): Unlocking | null {
  for (const slot of slots) {
    const unlocking = unlockBy(map, slot);
    if (unlocking !== null) return unlocking;
  }
  return null;
}

/** By one signature, where it is enough by itself. */
export function unlockBy(map: InputMap, slot: Slot): Unlocking | null {
  switch (slot.kind) {
    case "p2pkh":
    case "p2wpkh": {
      const publicKey = Buffer.from(slot.account.publicKey, "hex");
      const signature = map.partialSig?.find(([key]) => equal(key, publicKey))?.[1];
      if (signature === undefined) return null;
      if (slot.kind === "p2pkh") return { scriptSig: Buffer.concat([push(signature), push(publicKey)]), witness: [] };
      const scriptSig = slot.redeemScript === null ? NOTHING : push(slot.redeemScript);
      return { scriptSig, witness: [signature, publicKey] };
    }
    case "p2tr-key":
      return map.tapKeySig === undefined ? null : { scriptSig: NOTHING, witness: [map.tapKeySig] };
    case "p2tr-leaf": {
      const { script, controlBlock, xOnly, leafHash } = slot;
      // Only a leaf that wants this signature and nothing else: what others want, whoever made them knows.
      if (!equal(script, Buffer.concat([push(xOnly), Uint8Array.of(OP_CHECKSIG)]))) return null;
      const signature = map.tapScriptSig?.find(
        ([key]) => equal(key.pubKey, xOnly) && equal(key.leafHash, leafHash),
      )?.[1];
      return signature === undefined ? null : { scriptSig: NOTHING, witness: [signature, script, controlBlock] };
    }
  }
}

/** At most 75 bytes, which all of these are. */
function push(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}
