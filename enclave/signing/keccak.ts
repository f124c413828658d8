import { keccak_256 } from "@noble/hashes/sha3.js";
import { loadNative, NativeError } from "../../vsock/index.ts";

interface KeccakBinding {
  /** Writes 32 bytes into `out`. False before OpenSSL 3.2, which does not know it. */
  keccak256(bytes: Uint8Array, out: Uint8Array): boolean;
}

/** OpenSSL's in Node, which node:crypto shows from Node 26 on. Null where the addon is not built: then by JavaScript. */
const binding = load();

/** Keccak-256 as Ethereum uses it: the padding of before FIPS 202. Only public data is hashed with it. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  return binding?.keccak256(bytes, digest) === true ? digest : keccak_256(bytes);
}

function load(): KeccakBinding | null {
  try {
    const { keccak256 } = loadNative("p256") as Partial<KeccakBinding>;
    // One that was built before it was there.
    return keccak256 === undefined ? null : { keccak256 };
  } catch (error) {
    if (error instanceof NativeError) return null;
    throw error;
  }
}
