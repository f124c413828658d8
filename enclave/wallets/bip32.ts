/** BIP-32 private derivation on secp256k1: HMAC by node:crypto, point and scalar arithmetic by libsecp256k1. */
import { createHmac } from "node:crypto";
import { addTweak, isPrivateKey, publicKeyOf } from "../signing/secp256k1.ts";
import { hash160 } from "./addresses/hash160.ts";
import { isHardened, parsePath } from "./paths.ts";

const MASTER_KEY = Buffer.from("Bitcoin seed");

/**
 * Derives the private key at a path such as `m/44'/60'/0'/0/0`.
 *
 * @param seed - 16 to 64 bytes.
 * @returns 32 bytes; the caller wipes them.
 * @throws Error for a malformed path, or where BIP-32 says that the key is invalid (probability below 2^-127).
 */
export function derivePrivateKey(seed: Uint8Array, path: string): Uint8Array {
  const indices = parsePath(path);
  let node = masterOf(seed);
  for (const index of indices) {
    const child = childOf(node, index);
    wipe(node);
    node = child;
  }
  node.chainCode.fill(0);
  return node.key;
}

/** The first four bytes of the master key's identifier (BIP-32, "Key identifiers"): by it a PSBT names whose path it gives. */
export function masterFingerprint(seed: Uint8Array): Uint8Array {
  const master = masterOf(seed);
  try {
    return hash160(publicKeyOf(master.key, true)).subarray(0, 4);
  } finally {
    wipe(master);
  }
}

interface Node {
  readonly key: Uint8Array;
  readonly chainCode: Uint8Array;
}

function masterOf(seed: Uint8Array): Node {
  const master = split(createHmac("sha512", MASTER_KEY).update(seed).digest());
  if (!isPrivateKey(master.key)) throw new Error("BIP-32: the seed gives no valid master key");
  return master;
}

/** CKDpriv. */
function childOf({ key, chainCode }: Node, index: number): Node {
  const data = Buffer.alloc(37);
  if (isHardened(index)) data.set(key, 1);
  else data.set(publicKeyOf(key, true), 0);
  data.writeUInt32BE(index, 33);
  const derived = split(createHmac("sha512", chainCode).update(data).digest());
  data.fill(0);
  const child = addTweak(key, derived.key);
  derived.key.fill(0);
  if (child === undefined) throw new Error(`BIP-32: index ${index} gives no valid key`);
  return { key: child, chainCode: derived.chainCode };
}

function split(hmac: Buffer): Node {
  return { key: hmac.subarray(0, 32), chainCode: hmac.subarray(32) };
}

function wipe({ key, chainCode }: Node): void {
  key.fill(0);
  chainCode.fill(0);
}
