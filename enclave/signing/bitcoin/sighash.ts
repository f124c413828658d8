/** What a signature covers: its type, and the digest, which the library makes. */
import type { OpenSighashType } from "../../../protocol/index.ts";
import { hash160 } from "../../wallets/addresses/hash160.ts";
import { malformed } from "./malformed.ts";
import type { PreviousOutput } from "./previous-outputs.ts";
import type { Psbt } from "./psbt.ts";
import { p2pkhScript } from "./scripts.ts";
import type { Slot } from "./slots.ts";
import { TAPSCRIPT } from "./taproot.ts";

export type SighashType = "DEFAULT" | "ALL" | OpenSighashType;

const TYPES: ReadonlyMap<number, SighashType> = new Map([
  [0x00, "DEFAULT"],
  [0x01, "ALL"],
  [0x02, "NONE"],
  [0x03, "SINGLE"],
  [0x81, "ALL|ANYONECANPAY"],
  [0x82, "NONE|ANYONECANPAY"],
  [0x83, "SINGLE|ANYONECANPAY"],
]);
const ANYONECANPAY = 0x80;
const OUTPUTS = 0x03;
const NONE = 0x02;
const SINGLE = 0x03;

export interface Sighash {
  readonly byte: number;
  readonly type: SighashType;
}

/** Of an input that is to be signed. @throws {@link RequestError} `TRANSACTION_MALFORMED` for one that is not defined */
export function sighashOf(psbt: Psbt, at: number, isTaproot: boolean): Sighash {
  const byte = psbt.inputs[at]?.map.sighashType ?? (isTaproot ? 0x00 : 0x01);
  const type = TYPES.get(byte);
  // 0 is BIP-341's. Before it, it signs everything, and nodes do not relay it.
  if (type === undefined || (byte === 0 && !isTaproot)) malformed(`input ${at}: signature hash type ${byte}`);
  // What is signed then would be the number 1, and so would a thief's transaction.
  if ((byte & OUTPUTS) === SINGLE && at >= psbt.outputs.length)
    malformed(`input ${at}: SINGLE without an output of its own`);
  return { byte, type };
}

/** Whether it covers what all inputs spend (BIP-341), or this one's alone. */
export function coversAllInputs({ byte }: Sighash): boolean {
  return (byte & ANYONECANPAY) === 0;
}

/** BIP-370: what may still be changed, once this is signed. */
export function modifiableAfter(flags: number, { byte }: Sighash): number {
  const inputs = (byte & ANYONECANPAY) === 0 ? 0b001 : 0;
  const outputs = (byte & OUTPUTS) === NONE ? 0 : 0b010;
  return (flags & ~inputs & ~outputs) | ((byte & OUTPUTS) === SINGLE ? 0b100 : 0);
}

/** 32 bytes. */
export function digestOf(
  { unsigned }: Pick<Psbt, "unsigned">,
  previous: readonly PreviousOutput[],
  at: number,
  slot: Slot,
  { byte }: Sighash,
): Uint8Array {
  const spent = previous[at];
  if (spent === undefined) throw new Error(`no input ${at}`);
  switch (slot.kind) {
    case "p2pkh":
      // Private in the library, because its own signing is what it wants called.
      return unsigned["preimageLegacy"](at, spent.script, byte);
    case "p2wpkh": {
      const scriptCode = p2pkhScript(hash160(Buffer.from(slot.account.publicKey, "hex")));
      return unsigned.preimageWitnessV0(at, scriptCode, byte, spent.amountSats);
    }
    case "p2tr-key":
    case "p2tr-leaf": {
      const scripts = previous.map(({ script }) => script);
      const amounts = previous.map(({ amountSats }) => amountSats);
      if (slot.kind === "p2tr-key") return unsigned.preimageWitnessV1(at, scripts, byte, amounts);
      return unsigned.preimageWitnessV1(at, scripts, byte, amounts, -1, slot.script, TAPSCRIPT);
    }
  }
}
