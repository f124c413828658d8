/**
 * BIP-322: a message signed as if an output were spent that cannot exist, so that what signs transactions signs messages and
 * neither can be taken for the other.
 */
import { RawTx, RawWitness } from "@scure/btc-signer/script.js";
import { Transaction } from "@scure/btc-signer/transaction.js";
import type { Account } from "../../../protocol/index.ts";
import { unlockBy } from "./finalize.ts";
import { idOf } from "./previous-outputs.ts";
import type { InputMap } from "./psbt.ts";
import { p2wpkhScript, type ScriptKind, scriptOf } from "./scripts.ts";
import { digestOf } from "./sighash.ts";
import { type Lend, putSignature, signatureOf } from "./sign-psbt.ts";
import type { Slot } from "./slots.ts";
import { taggedHash, tapTweak } from "./taproot.ts";

export interface MessageSignature {
  /** `simple`: the witness alone. `full`: the whole transaction, where there is no witness. */
  readonly format: "simple" | "full";
  readonly bytes: Uint8Array;
}

const NO_TRANSACTION = new Uint8Array(32);
const NO_OUTPUT = 0xffff_ffff;
const OP_RETURN = Uint8Array.of(0x6a);

/** The id of the transaction that is "spent", which holds the message; in the order that explorers write it in. */
export function toSpend(message: Uint8Array, script: Uint8Array): Uint8Array {
  const messageHash = taggedHash("BIP0322-signed-message", message);
  const finalScriptSig = Buffer.concat([Uint8Array.of(0x00, 32), messageHash]);
  return idOf({
    ...{ version: 0, lockTime: 0, segwitFlag: false, witnesses: [] },
    inputs: [{ txid: NO_TRANSACTION, index: NO_OUTPUT, finalScriptSig, sequence: 0 }],
    outputs: [{ amount: 0n, script }],
  });
}

export function signBip322(message: Uint8Array, account: Account, kind: ScriptKind, lend: Lend): MessageSignature {
  const publicKey = Buffer.from(account.publicKey, "hex");
  const script = scriptOf(kind, publicKey);
  const slot = slotOf(account, kind, publicKey);
  const txid = toSpend(message, script);
  const unsigned = new Transaction({ version: 0, allowUnknownOutputs: true, disableScriptCheck: true });
  unsigned.addInput({ txid, index: 0, sequence: 0 }, true);
  unsigned.addOutput({ script: OP_RETURN, amount: 0n }, true);
  const sighash = kind === "p2tr" ? ({ byte: 0, type: "DEFAULT" } as const) : ({ byte: 1, type: "ALL" } as const);
  const digest = digestOf({ unsigned }, [{ script, amountSats: 0n, isProven: true }], 0, slot, sighash);
  const signature = lend(account, (signer) => signatureOf(signer, digest, slot, sighash));
  const map: InputMap = {};
  putSignature(map, slot, signature);
  const unlocking = unlockBy(map, slot);
  if (unlocking === null) throw new Error("a single key's signature is enough");
  // BIP-322, "Signing": segwit, pure or wrapped, needs the witness alone.
  if (kind !== "p2pkh") return { format: "simple", bytes: RawWitness.encode([...unlocking.witness]) };
  const transaction = {
    ...{ version: 0, lockTime: 0, segwitFlag: false, witnesses: [] },
    inputs: [{ txid, index: 0, finalScriptSig: unlocking.scriptSig, sequence: 0 }],
    outputs: [{ amount: 0n, script: OP_RETURN }],
  };
  return { format: "full", bytes: RawTx.encode(transaction) };
}

function slotOf(account: Account, kind: ScriptKind, publicKey: Uint8Array): Slot {
  switch (kind) {
    case "p2pkh":
      return { kind, account };
    case "p2wpkh":
      return { kind, account, redeemScript: null };
    case "p2sh-p2wpkh":
      return { kind: "p2wpkh", account, redeemScript: p2wpkhScript(publicKey) };
    case "p2tr":
      return { kind: "p2tr-key", account, tweak: tapTweak(publicKey.subarray(1), null) };
  }
}
