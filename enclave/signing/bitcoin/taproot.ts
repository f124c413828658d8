/** BIP-341 on public keys: tweaks, leaves and the paths from them to an output. All of it is public. */
import { createHash, hash } from "node:crypto";
import { VarBytes } from "@scure/btc-signer/script.js";
import { type TweakedXOnlyKey, tweakXOnlyPublicKey } from "../secp256k1.ts";

/** BIP-341: the only leaf version that has a meaning, tapscript (BIP-342). */
export const TAPSCRIPT = 0xc0;

export interface ControlBlock {
  /** With the parity of the output key's y in its lowest bit. */
  readonly version: number;
  readonly internalKey: Uint8Array;
  readonly merklePath: readonly Uint8Array[];
}

/** BIP-340's tagged hash. */
export function taggedHash(tag: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const prefix = hash("sha256", tag, "buffer");
  const sha256 = createHash("sha256").update(prefix).update(prefix);
  for (const part of parts) sha256.update(part);
  return sha256.digest();
}

/** @param merkleRoot - Null for a key that no script stands beside. */
export function tapTweak(internalKey: Uint8Array, merkleRoot: Uint8Array | null): Uint8Array {
  return taggedHash("TapTweak", internalKey, merkleRoot ?? new Uint8Array(0));
}

/** @returns Undefined where the internal key is no point, or for one tweak in 2^127. */
export function taprootOutput(internalKey: Uint8Array, merkleRoot: Uint8Array | null): TweakedXOnlyKey | undefined {
  return tweakXOnlyPublicKey(internalKey, tapTweak(internalKey, merkleRoot));
}

/** Of a leaf of version {@link TAPSCRIPT}. */
export function tapLeafHash(script: Uint8Array): Uint8Array {
  return taggedHash("TapLeaf", Uint8Array.of(TAPSCRIPT), VarBytes.encode(script));
}

/** Whether a leaf is one of an output's, by the path that a control block gives. */
export function commitsTo(
  outputKey: Uint8Array,
  { version, internalKey, merklePath }: ControlBlock,
  leafHash: Uint8Array,
): boolean {
  const output = taprootOutput(internalKey, merkleRootOf(leafHash, merklePath));
  return output !== undefined && Buffer.compare(output.xOnly, outputKey) === 0 && output.parity === (version & 1);
}

export function merkleRootOf(leafHash: Uint8Array, merklePath: readonly Uint8Array[]): Uint8Array {
  return merklePath.reduce(
    (node, sibling) => taggedHash("TapBranch", ...[node, sibling].sort(Buffer.compare)),
    leafHash,
  );
}
