/** The signatures that the wallet can give: for each input, which of its keys the script asks for, and how. */
import { TaprootControlBlock } from "@scure/btc-signer/psbt.js";
import { Script } from "@scure/btc-signer/script.js";
import { type Account, decodeHex } from "../../../protocol/index.ts";
import { malformed } from "./malformed.ts";
import type { Origin, OwnKeys } from "./own-keys.ts";
import type { PreviousOutput } from "./previous-outputs.ts";
import { equal, type InputMap, type OutputMap, type PsbtOutput } from "./psbt.ts";
import { kindOf, p2wpkhScript, type ScriptKind, scriptOf } from "./scripts.ts";
import { commitsTo, TAPSCRIPT, tapLeafHash, taprootOutput, tapTweak } from "./taproot.ts";

export type Slot =
  | { readonly kind: "p2pkh"; readonly account: Account }
  | { readonly kind: "p2wpkh"; readonly account: Account; readonly redeemScript: Uint8Array | null }
  | { readonly kind: "p2tr-key"; readonly account: Account; readonly tweak: Uint8Array }
  | {
      readonly kind: "p2tr-leaf";
      readonly account: Account;
      readonly script: Uint8Array;
      readonly leafHash: Uint8Array;
      readonly controlBlock: Uint8Array;
      readonly xOnly: Uint8Array;
    };

const NOTHING = new Uint8Array(0);

/** A key that may be the wallet's, and how to find out. */
interface Candidate {
  readonly xOnly: Uint8Array;
  /** Null where it turns out not to be. */
  readonly account: () => Account | null;
}

/** @returns None for an input that is not the wallet's. */
export function slotsOf(map: InputMap, { script }: PreviousOutput, own: OwnKeys): readonly Slot[] {
  const kind = kindOf(script);
  if (kind === null) return [];
  if (kind === "p2tr") return taprootSlots(map, script.subarray(2), own);
  const account = accountOf(map, script, kind, own);
  if (account === null) return [];
  const redeemScript = kind === "p2sh-p2wpkh" ? p2wpkhScript(decodeHex(account.publicKey)) : null;
  const said = map.redeemScript;
  if (said !== undefined && (redeemScript === null || !equal(said, redeemScript)))
    malformed("a redeemScript that is not the input's");
  if (map.witnessScript !== undefined) malformed("a witnessScript where there is none to spend by");
  return [kind === "p2pkh" ? { kind, account } : { kind: "p2wpkh", account, redeemScript }];
}

/** Whether an output brings money back to where this wallet, and nobody else, spends it. */
export function isChange({ map, script }: PsbtOutput, own: OwnKeys): boolean {
  if (own.kept(script) !== null) return true;
  const kind = kindOf(script);
  if (kind === null) return false;
  // A key beside which scripts stand is not the only one that spends.
  if (kind === "p2tr" && map.tapTree !== undefined) return false;
  return originsOf(map, kind).some(
    ({ key, origin }) => makes(kind, key, script) && own.derivedForChange(key, origin, kind) !== null,
  );
}

function accountOf(map: InputMap, script: Uint8Array, kind: ScriptKind, own: OwnKeys): Account | null {
  const kept = own.kept(script);
  if (kept !== null) return kept;
  // The cheap question first: deriving costs.
  const origin = originsOf(map, kind).find(({ key }) => makes(kind, key, script));
  return origin === undefined ? null : own.derived(origin.key, origin.origin, kind);
}

function originsOf(
  map: InputMap | OutputMap,
  kind: ScriptKind,
): { readonly key: Uint8Array; readonly origin: Origin }[] {
  if (kind === "p2tr") return (map.tapBip32Derivation ?? []).map(([key, { der }]) => ({ key, origin: der }));
  return (map.bip32Derivation ?? []).map(([key, origin]) => ({ key, origin }));
}

/** @param key - Compressed, or x alone for taproot; an uncompressed one makes none of our scripts. */
function makes(kind: ScriptKind, key: Uint8Array, script: Uint8Array): boolean {
  if (kind !== "p2tr") return key.length === 33 && equal(scriptOf(kind, key), script);
  return equal(scriptOf(kind, Buffer.concat([Uint8Array.of(0x02), key])), script);
}

function taprootSlots(map: InputMap, outputKey: Uint8Array, own: OwnKeys): readonly Slot[] {
  const candidates = candidatesOf(map, own);
  const slots: Slot[] = [];
  const root = map.tapMerkleRoot ?? null;
  for (const { xOnly, account } of candidates) {
    // A tweak costs: one for each key that is kept is too much to try, for each input of a PSBT.
    if (map.tapInternalKey === undefined ? root !== null : !equal(map.tapInternalKey, xOnly)) continue;
    if (!equal((root === null ? own.outputOf(xOnly) : taprootOutput(xOnly, root)?.xOnly) ?? NOTHING, outputKey))
      continue;
    const held = account();
    if (held !== null) slots.push({ kind: "p2tr-key", account: held, tweak: tapTweak(xOnly, root) });
  }
  for (const [block, scriptAndVersion] of map.tapLeafScript ?? []) {
    const script = scriptAndVersion.subarray(0, -1);
    if (scriptAndVersion.at(-1) !== TAPSCRIPT) continue;
    const leafHash = tapLeafHash(script);
    if (!commitsTo(outputKey, block, leafHash)) continue;
    const controlBlock = TaprootControlBlock.encode(block);
    for (const { xOnly, account } of candidates.filter((candidate) => asksFor(script, candidate.xOnly))) {
      const held = account();
      if (held !== null) slots.push({ kind: "p2tr-leaf", account: held, script, leafHash, controlBlock, xOnly });
    }
  }
  return slots;
}

function candidatesOf(map: InputMap, own: OwnKeys): readonly Candidate[] {
  const kept = own.keptOf("p2tr").map((account) => ({
    xOnly: decodeHex(account.publicKey).subarray(1),
    account: () => account,
  }));
  const named = originsOf(map, "p2tr")
    .filter(({ key }) => !kept.some(({ xOnly }) => equal(xOnly, key)))
    .map(({ key, origin }) => ({ xOnly: key, account: () => own.derived(key, origin, "p2tr") }));
  return [...kept, ...named];
}

/** Whether a leaf has this key in it. None that this code cannot read, and none in which a signature's place matters. */
function asksFor(script: Uint8Array, xOnly: Uint8Array): boolean {
  try {
    const operations = Script.decode(script);
    if (operations.includes("CODESEPARATOR")) return false;
    return operations.some((operation) => operation instanceof Uint8Array && equal(operation, xOnly));
  } catch {
    return false;
  }
}
