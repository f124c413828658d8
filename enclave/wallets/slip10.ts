/** SLIP-10: BIP-32 for Ed25519, whose steps are all hardened, and for P-256. Every scalar is valid on Ed25519. */
import { createHmac } from "node:crypto";
import { addTweak, isPrivateKey, publicKeyOf } from "../signing/p256.ts";
import { isHardened, parsePath } from "./paths.ts";

const ED25519_MASTER = Buffer.from("ed25519 seed");
const P256_MASTER = Buffer.from("Nist256p1 seed");

interface Node {
  readonly key: Uint8Array;
  readonly chainCode: Uint8Array;
}

/**
 * The Ed25519 seed (RFC 8032, "private key") at a path.
 *
 * @returns 32 bytes; the caller wipes them.
 * @throws Error for a malformed path, or one with a step that is not hardened
 */
export function deriveEd25519(seed: Uint8Array, path: string): Uint8Array {
  const indices = parsePath(path);
  if (!indices.every(isHardened)) throw new Error("SLIP-10: on Ed25519 every step is hardened");
  return walk(split(hmac(ED25519_MASTER, seed)), indices, ({ key, chainCode }, index) => {
    const data = Buffer.concat([Uint8Array.of(0), key, ser32(index)]);
    const child = split(hmac(chainCode, data));
    data.fill(0);
    return child;
  });
}

/**
 * The P-256 private key at a path.
 *
 * @returns 32 bytes; the caller wipes them.
 * @throws Error for a malformed path
 */
export function deriveP256(seed: Uint8Array, path: string): Uint8Array {
  const indices = parsePath(path);
  return walk(p256Master(seed), indices, (node, index) => {
    const head = isHardened(index)
      ? Buffer.concat([Uint8Array.of(0), node.key])
      : Buffer.from(publicKeyOf(node.key, true));
    let data = Buffer.concat([head, ser32(index)]);
    head.fill(0);
    for (;;) {
      const derived = split(hmac(node.chainCode, data));
      data.fill(0);
      const key = addTweak(node.key, derived.key);
      derived.key.fill(0);
      if (key !== undefined) return { key, chainCode: derived.chainCode };
      // Not below n, or a sum of zero: once in 2^32 keys on this curve.
      data = Buffer.concat([Uint8Array.of(1), derived.chainCode, ser32(index)]);
    }
  });
}

function p256Master(seed: Uint8Array): Node {
  for (let from = hmac(P256_MASTER, seed); ; ) {
    const master = split(from);
    if (isPrivateKey(master.key)) return master;
    const next = hmac(P256_MASTER, from);
    from.fill(0);
    from = next;
  }
}

function walk(master: Node, indices: readonly number[], childOf: (node: Node, index: number) => Node): Uint8Array {
  let node = master;
  for (const index of indices) {
    const child = childOf(node, index);
    node.key.fill(0);
    node.chainCode.fill(0);
    node = child;
  }
  node.chainCode.fill(0);
  return node.key;
}

function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac("sha512", key).update(data).digest();
}

function ser32(index: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(index);
  return bytes;
}

function split(bytes: Buffer): Node {
  return { key: bytes.subarray(0, 32), chainCode: bytes.subarray(32) };
}
