/**
 * Keys on P-256, as derivation needs them. Points are OpenSSL's; the one sum of scalars that OpenSSL does not offer to
 * Node is done here in limbs, without a branch or an index that depends on a secret.
 */
import { createECDH } from "node:crypto";

/** Of 16 bits, the lowest first: a sum of two and a carry is far below what a number holds exactly. */
const LIMBS = 16;
/** The order n (SEC 2, 2.4.2). */
const ORDER = limbsOf(Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex"));

/** True for a scalar between 1 and n - 1. */
export function isPrivateKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const limbs = limbsOf(bytes);
  const isBelowOrder = subtract(limbs, ORDER).borrow === 1;
  const isValid = isBelowOrder && !isZero(limbs);
  limbs.fill(0);
  return isValid;
}

/** Compressed, 33 bytes. */
export function publicKeyOf(privateKey: Uint8Array): Buffer {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(privateKey);
  return ecdh.getPublicKey(null, "compressed");
}

/** (key + tweak) mod n; undefined if that is zero or the tweak is not below n. */
export function addTweak(privateKey: Uint8Array, tweak: Uint8Array): Uint8Array | undefined {
  const [key, added] = [limbsOf(privateKey), limbsOf(tweak)];
  const isTweakBelowOrder = subtract(added, ORDER).borrow === 1;
  const sum = new Uint32Array(LIMBS);
  let carry = 0;
  for (let at = 0; at < LIMBS; at += 1) {
    const limb = (key[at] ?? 0) + (added[at] ?? 0) + carry;
    sum[at] = limb & 0xffff;
    carry = limb >>> 16;
  }
  const { difference, borrow } = subtract(sum, ORDER);
  // All ones where the sum has reached n: by its 257th bit, or because nothing was missing to take n away.
  const mask = -(carry | (1 - borrow));
  const child = new Uint32Array(LIMBS);
  for (let at = 0; at < LIMBS; at += 1)
    child[at] = (((difference[at] ?? 0) & mask) | ((sum[at] ?? 0) & ~mask)) & 0xffff;
  const bytes = bytesOf(child);
  const isChildZero = isZero(child);
  for (const limbs of [key, added, sum, difference, child]) limbs.fill(0);
  if (isTweakBelowOrder && !isChildZero) return bytes;
  bytes.fill(0);
  return undefined;
}

function subtract(from: Uint32Array, what: Uint32Array): { difference: Uint32Array; borrow: number } {
  const difference = new Uint32Array(LIMBS);
  let borrow = 0;
  for (let at = 0; at < LIMBS; at += 1) {
    const limb = (from[at] ?? 0) - (what[at] ?? 0) - borrow;
    difference[at] = limb & 0xffff;
    borrow = (limb >>> 16) & 1;
  }
  return { difference, borrow };
}

function isZero(limbs: Uint32Array): boolean {
  return limbs.reduce((all, limb) => all | limb, 0) === 0;
}

function limbsOf(bytes: Uint8Array): Uint32Array {
  const limbs = new Uint32Array(LIMBS);
  for (let at = 0; at < LIMBS; at += 1) {
    limbs[at] = ((bytes[30 - 2 * at] ?? 0) << 8) | (bytes[31 - 2 * at] ?? 0);
  }
  return limbs;
}

function bytesOf(limbs: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(32);
  for (let at = 0; at < LIMBS; at += 1) {
    bytes[30 - 2 * at] = (limbs[at] ?? 0) >>> 8;
    bytes[31 - 2 * at] = (limbs[at] ?? 0) & 0xff;
  }
  return bytes;
}
