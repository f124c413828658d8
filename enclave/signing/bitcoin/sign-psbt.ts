/** Puts the wallet's signatures into a PSBT that was allowed. */
import type { Account } from "../../../protocol/index.ts";
import type { Secp256k1Signer } from "../../wallets/signer.ts";
import { derOf } from "./der.ts";
import { type FinalTransaction, finalize } from "./finalize.ts";
import { encodePsbt, equal, type InputMap } from "./psbt.ts";
import { digestOf, modifiableAfter, type Sighash } from "./sighash.ts";
import type { Slot } from "./slots.ts";
import type { Spend } from "./spend.ts";

/** Lends the key of an account. */
export type Lend = (account: Account, work: (signer: Secp256k1Signer) => Uint8Array) => Uint8Array;

export interface SignedPsbt {
  readonly bytes: Uint8Array;
  /** Null while signatures of others are missing. */
  readonly final: FinalTransaction | null;
}

export function signPsbt({ psbt, previous, tasks }: Spend, lend: Lend): SignedPsbt {
  const inputs = psbt.inputs.map(({ map }) => ({ ...map }));
  const global = { ...psbt.global };
  for (const { at, slots, sighash } of tasks) {
    const input = inputs[at];
    if (input === undefined) throw new Error(`no input ${at}`);
    for (const slot of slots) {
      const digest = digestOf(psbt, previous, at, slot, sighash);
      const signature = lend(slot.account, (signer) => signatureOf(signer, digest, slot, sighash));
      putSignature(input, slot, signature);
    }
    if (global.txModifiable !== undefined) global.txModifiable = modifiableAfter(global.txModifiable, sighash);
  }
  return { bytes: encodePsbt(psbt, global, inputs), final: finalize(psbt, inputs, tasks) };
}

/** With the byte that says what it covers: BIP-341 leaves it out where that is `DEFAULT`. */
export function signatureOf(signer: Secp256k1Signer, digest: Uint8Array, slot: Slot, { byte }: Sighash): Uint8Array {
  switch (slot.kind) {
    case "p2pkh":
    case "p2wpkh":
      return Buffer.concat([derOf(signer.signDigest(digest).rs), Uint8Array.of(byte)]);
    case "p2tr-key":
    case "p2tr-leaf": {
      const signature = signer.signSchnorr(digest, slot.kind === "p2tr-key" ? slot.tweak : null);
      return byte === 0 ? signature : Buffer.concat([signature, Uint8Array.of(byte)]);
    }
  }
}

/** In the place of one by the same key, if there is one: it may be of another transaction. */
export function putSignature(input: InputMap, slot: Slot, signature: Uint8Array): void {
  switch (slot.kind) {
    case "p2pkh":
    case "p2wpkh": {
      const publicKey = Buffer.from(slot.account.publicKey, "hex");
      input.partialSig = [
        ...(input.partialSig ?? []).filter(([key]) => !equal(key, publicKey)),
        [publicKey, signature],
      ];
      return;
    }
    case "p2tr-key":
      input.tapKeySig = signature;
      return;
    case "p2tr-leaf": {
      const { xOnly: pubKey, leafHash } = slot;
      const others = (input.tapScriptSig ?? []).filter(
        ([key]) => !equal(key.pubKey, pubKey) || !equal(key.leafHash, leafHash),
      );
      input.tapScriptSig = [...others, [{ pubKey, leafHash }, signature]];
    }
  }
}
