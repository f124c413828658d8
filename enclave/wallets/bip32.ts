/** BIP-32 private derivation on secp256k1: HMAC by node:crypto, point and scalar arithmetic by libsecp256k1. */
import { createHmac } from "node:crypto";
import { addTweak, isPrivateKey, publicKeyOf } from "../signing/secp256k1.ts";

const MASTER_KEY = Buffer.from("Bitcoin seed");
const HARDENED = 0x8000_0000;

/**
 * Derives the private key at a path such as `m/44'/60'/0'/0/0`.
 *
 * @param seed - 16 to 64 bytes.
 * @returns 32 bytes; the caller wipes them.
 * @throws Error for a malformed path, or where BIP-32 says that the key is invalid (probability below 2^-127).
 */
export function derivePrivateKey(seed: Uint8Array, path: string): Uint8Array {
  let node = split(createHmac("sha512", MASTER_KEY).update(seed).digest());
  if (!isPrivateKey(node.key)) throw new Error("BIP-32: the seed gives no valid master key");
  for (const index of parsePath(path)) {
    const child = childOf(node, index);
    wipe(node);
    node = child;
  }
  node.chainCode.fill(0);
  return node.key;
}

interface Node {
  readonly key: Uint8Array;
  readonly chainCode: Uint8Array;
}

/** CKDpriv. */
function childOf({ key, chainCode }: Node, index: number): Node {
  const data = Buffer.alloc(37);
  if (index >= HARDENED) data.set(key, 1);
  else data.set(publicKeyOf(key, true), 0);
  data.writeUInt32BE(index, 33);
  const derived = split(createHmac("sha512", chainCode).update(data).digest());
  data.fill(0);
  const child = addTweak(key, derived.key);
  derived.key.fill(0);
  if (child === undefined) throw new Error(`BIP-32: index ${index} gives no valid key`);
  return { key: child, chainCode: derived.chainCode };
}

function parsePath(path: string): number[] {
  const [root, ...steps] = path.split("/");
  if (root !== "m") throw new Error("BIP-32: a path begins with m");
  return steps.map((step) => {
    const match = /^(0|[1-9][0-9]{0,9})('?)$/.exec(step);
    const index = Number(match?.[1]);
    if (match === null || index >= HARDENED) throw new Error(`BIP-32: malformed step in ${path}`);
    return match[2] === "'" ? index + HARDENED : index;
  });
}

function split(hmac: Buffer): Node {
  return { key: hmac.subarray(0, 32), chainCode: hmac.subarray(32) };
}

function wipe({ key, chainCode }: Node): void {
  key.fill(0);
  chainCode.fill(0);
}
