import { createHash } from "node:crypto";
import { bech32m } from "@scure/base";
import { tweakXOnlyPublicKey } from "../../signing/secp256k1.ts";
import type { BitcoinNetwork } from "./network.ts";

const TAG = createHash("sha256").update("TapTweak").digest();

/** BIP-86: a key that is spent by its signature alone, so that it is tweaked by no script but by itself. BIP-350's form. */
export function p2tr(publicKey: Uint8Array, network: BitcoinNetwork): string {
  const internal = publicKey.subarray(1);
  const output = tweakXOnlyPublicKey(internal, tapTweak(internal));
  if (output === undefined) throw new Error("BIP-341: a key without an output key (probability below 2^-127)");
  return bech32m.encode(network.prefix, [1, ...bech32m.toWords(output.xOnly)]);
}

/**
 * BIP-341's tweak of an internal key without scripts.
 *
 * @param internal - x alone, 32 bytes.
 */
export function tapTweak(internal: Uint8Array): Uint8Array {
  return createHash("sha256").update(TAG).update(TAG).update(internal).digest();
}
