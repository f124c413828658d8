/** A PSBT that was understood: what it would spend, what it would leave open, and who has to sign. */
import { type Account, encodeHex, type OpenSighashType, RequestError } from "../../../protocol/index.ts";
import type { BitcoinTransactionFacts } from "../../policy/facts.ts";
import { malformed } from "./malformed.ts";
import type { OwnKeys } from "./own-keys.ts";
import { type PreviousOutput, previousOutputs, unverified } from "./previous-outputs.ts";
import { type InputMap, MAX_SATS, type Psbt } from "./psbt.ts";
import { addressOfScript } from "./scripts.ts";
import { coversAllInputs, type Sighash, sighashOf } from "./sighash.ts";
import { isChange, type Slot, slotsOf } from "./slots.ts";

/** One input that the wallet is to sign. */
export interface Task {
  readonly at: number;
  readonly slots: readonly Slot[];
  readonly sighash: Sighash;
}

export interface Spend {
  readonly psbt: Psbt;
  readonly previous: readonly PreviousOutput[];
  readonly tasks: readonly Task[];
  /** Each once. */
  readonly accounts: readonly Account[];
  readonly facts: BitcoinTransactionFacts;
}

/**
 * @param allowed - Signature hash types that the caller asked for by name.
 * @throws {@link RequestError} `AMOUNT_UNVERIFIED`, `CHAIN_MISMATCH`, `NOTHING_TO_SIGN`, `SIGHASH_NOT_ALLOWED`,
 *   `TRANSACTION_MALFORMED`
 */
export function understand(psbt: Psbt, own: OwnKeys, allowed: readonly OpenSighashType[]): Spend {
  const previous = previousOutputs(psbt);
  const slots = psbt.inputs.map(({ map }, at) => slotsOf(map, itemAt(previous, at), own));
  const tasks = slots.flatMap((found, at): Task[] => {
    if (found.length === 0 || isFinal(itemAt(psbt.inputs, at).map)) return [];
    return [{ at, slots: found, sighash: sighashOf(psbt, at, isTaproot(found)) }];
  });
  if (tasks.length === 0) throw new RequestError("NOTHING_TO_SIGN", "no input waits for a key of this wallet");
  for (const { at, sighash } of tasks) {
    const { type } = sighash;
    if (type === "ALL" || type === "DEFAULT" || allowed.includes(type)) continue;
    throw new RequestError("SIGHASH_NOT_ALLOWED", `input ${at} asks for ${type}, which sighashTypes does not name`);
  }
  checkAmounts(previous, tasks);
  checkNoMessage(previous, tasks);
  const accounts = new Map(tasks.flatMap((task) => task.slots.map(({ account }) => [account.publicKey, account])));
  for (const account of accounts.values()) own.checkNetwork(account);
  return { psbt, previous, tasks, accounts: [...accounts.values()], facts: factsOf(psbt, previous, slots, tasks, own) };
}

export function isFinal({ finalScriptSig, finalScriptWitness }: InputMap): boolean {
  return (finalScriptSig?.length ?? 0) > 0 || (finalScriptWitness?.length ?? 0) > 0;
}

/**
 * Whatever is shown of amounts must be so for each signature that is given to be worth anything. The transaction that made an
 * output proves it. A word is enough only where every signature of this request covers it, so that a lie makes all of them
 * void: BIP-341 signs the amounts and scripts of all inputs, or of its own under ANYONECANPAY; older rules do not.
 */
function checkAmounts(previous: readonly PreviousOutput[], tasks: readonly Task[]): void {
  for (const [at, { isProven }] of previous.entries()) {
    const isCovered = tasks.every((task) => isTaproot(task.slots) && (coversAllInputs(task.sighash) || task.at === at));
    if (!isProven && !isCovered) unverified(at, "nothing proves its amount: it needs nonWitnessUtxo");
  }
}

/**
 * BIP-322 signs messages as if an output of no amount were spent, in the full form by a transaction of any version. What
 * signs payments must not sign those: policies would be told of a payment of nothing.
 */
function checkNoMessage(previous: readonly PreviousOutput[], tasks: readonly Task[]): void {
  for (const { at } of tasks) {
    if (itemAt(previous, at).amountSats === 0n)
      malformed(`input ${at} spends nothing, as a message does: ask for sign_bitcoin_message`);
  }
}

function factsOf(
  { inputs, outputs }: Psbt,
  previous: readonly PreviousOutput[],
  slots: readonly (readonly Slot[])[],
  tasks: readonly Task[],
  own: OwnKeys,
): BitcoinTransactionFacts {
  const { network } = own;
  const spending = inputs.map(({ txid, index }, at) => {
    const { script, amountSats } = itemAt(previous, at);
    const isOwn = itemAt(slots, at).length > 0;
    return { txid: encodeHex(txid), index, address: addressOfScript(script, network), amountSats, isOwn };
  });
  const receiving = outputs.map((output) => ({
    address: addressOfScript(output.script, network),
    script: output.script,
    amountSats: output.amountSats,
    isChange: isChange(output, own),
  }));
  const inSats = sum(spending);
  const outSats = sum(receiving);
  if (inSats > MAX_SATS) malformed("the inputs bring more than there can be");
  if (outSats > inSats) malformed("the outputs take more than the inputs bring");
  return {
    ...{ kind: "bitcoin-transaction", network, inputs: spending, outputs: receiving, feeSats: inSats - outSats },
    spentSats: spentOf(spending, receiving, tasks),
    sighashTypes: [...new Set(tasks.map(({ sighash }) => sighash.type))],
  };
}

/**
 * What leaves the wallet, or more: never less, over all requests that it takes to make the transaction whole. One that does
 * not say of an own input that it is own can have it signed by the next. If both counted the same change as coming back,
 * both together would tell of too little. So change is credited against all that the inputs bring, own or not, and not at
 * all while others can still add inputs or change outputs.
 */
function spentOf(
  inputs: BitcoinTransactionFacts["inputs"],
  outputs: BitcoinTransactionFacts["outputs"],
  tasks: readonly Task[],
): bigint {
  const ownSats = sum(inputs.filter(({ isOwn }) => isOwn));
  if (tasks.some(({ sighash }) => isOpen(sighash))) return ownSats;
  const leavingSats = sum(inputs) - sum(outputs.filter((output) => output.isChange));
  return ownSats < leavingSats ? ownSats : leavingSats;
}

function isOpen({ type }: Sighash): boolean {
  return type !== "ALL" && type !== "DEFAULT";
}

function isTaproot(slots: readonly Slot[]): boolean {
  return slots[0]?.kind === "p2tr-key" || slots[0]?.kind === "p2tr-leaf";
}

function sum(amounts: readonly { readonly amountSats: bigint }[]): bigint {
  return amounts.reduce((total, { amountSats }) => total + amountSats, 0n);
}

function itemAt<Item>(items: readonly Item[], at: number): Item {
  const item = items[at];
  if (item === undefined) throw new RangeError(`no item ${at}`);
  return item;
}
