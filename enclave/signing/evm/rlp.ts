/** RLP (yellow paper, appendix B) of what is to be signed: lists of bounded depth, integers without leading zeros. */
import { RLP } from "@ethereumjs/rlp";
import { RequestError } from "../../../protocol/index.ts";

export type RlpItem = Uint8Array | RlpItem[];

/** Fields, a list among them, its entries, and a list in one of those: EIP-2930's storage keys. */
const MAX_LIST_DEPTH = 4;
export const MAX_UINT64 = 2n ** 64n - 1n;
export const MAX_UINT256 = 2n ** 256n - 1n;
/** EIP-2681: a nonce is below 2^64 - 1. */
export const MAX_NONCE = MAX_UINT64 - 1n;

/**
 * One list with nothing after it.
 *
 * @throws {@link RequestError} `TRANSACTION_MALFORMED`
 */
export function decodeRlpList(bytes: Uint8Array): readonly RlpItem[] {
  checkNesting(bytes);
  let items: RlpItem;
  try {
    items = RLP.decode(bytes) as RlpItem;
  } catch (cause) {
    throw new RequestError("TRANSACTION_MALFORMED", "not one RLP item with nothing after it", { cause });
  }
  if (!Array.isArray(items)) malformed("not a list");
  return items;
}

/**
 * One list. Measured first, so that all of it is written into one array: each transaction is encoded three times, and the
 * library, which goes through hex, took a fifth of what is not cryptography.
 *
 * @param prefix - Bytes before the list, such as a transaction's type.
 */
export function encodeRlp(items: readonly RlpItem[], prefix: readonly number[] = []): Uint8Array {
  const length = lengthOfAll(items);
  const out = new Uint8Array(prefix.length + headLength(length) + length);
  out.set(prefix);
  writeList(items, out, prefix.length);
  return out;
}

function lengthOfAll(items: readonly RlpItem[]): number {
  let length = 0;
  for (const item of items) length += lengthOf(item);
  return length;
}

function lengthOf(item: RlpItem): number {
  if (isItself(item)) return 1;
  const length = Array.isArray(item) ? lengthOfAll(item) : item.length;
  return headLength(length) + length;
}

/** One byte below 0x80 stands for itself. */
function isItself(item: RlpItem): boolean {
  return !Array.isArray(item) && item.length === 1 && (item[0] ?? 0) < 0x80;
}

function headLength(length: number): number {
  return length < 56 ? 1 : 1 + bytesIn(length);
}

function bytesIn(length: number): number {
  let count = 0;
  for (let left = length; left > 0; left = Math.floor(left / 256)) count += 1;
  return count;
}

/** @returns Where what comes next begins. */
function writeList(items: readonly RlpItem[], out: Uint8Array, at: number): number {
  let next = writeHead(0xc0, lengthOfAll(items), out, at);
  for (const item of items) {
    if (Array.isArray(item)) {
      next = writeList(item, out, next);
      continue;
    }
    if (!isItself(item)) next = writeHead(0x80, item.length, out, next);
    out.set(item, next);
    next += item.length;
  }
  return next;
}

function writeHead(kind: 0x80 | 0xc0, length: number, out: Uint8Array, at: number): number {
  if (length < 56) {
    out[at] = kind + length;
    return at + 1;
  }
  const count = bytesIn(length);
  out[at] = kind + 55 + count;
  let left = length;
  for (let last = at + count; last > at; last -= 1) {
    out[last] = left % 256;
    left = Math.floor(left / 256);
  }
  return at + 1 + count;
}

/** Big-endian without leading zeros; zero is the empty string. */
export function minimal(value: bigint): Uint8Array {
  if (value === 0n) return new Uint8Array(0);
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

export function stripZeros(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? new Uint8Array(0) : bytes.subarray(first);
}

export function byteString(item: RlpItem | undefined, name: string): Uint8Array {
  if (!(item instanceof Uint8Array)) malformed(`${name}: expected bytes`);
  return item;
}

export function integer(item: RlpItem | undefined, max: bigint, name: string): bigint {
  const bytes = byteString(item, name);
  if (bytes[0] === 0) malformed(`${name}: leading zero`);
  if (bytes.length > 32) malformed(`${name}: ${bytes.length} bytes`);
  const value = bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  if (value > max) malformed(`${name}: over ${max}`);
  return value;
}

export function fixedBytes(item: RlpItem | undefined, length: number, name: string): Uint8Array {
  const bytes = byteString(item, name);
  if (bytes.length !== length) malformed(`${name}: ${bytes.length} bytes, expected ${length}`);
  return bytes;
}

export function list(item: RlpItem | undefined, name: string): readonly RlpItem[] {
  if (!Array.isArray(item)) malformed(`${name}: expected a list`);
  return item;
}

/** @throws {@link RequestError} `TRANSACTION_MALFORMED` */
export function malformed(why: string): never {
  throw new RequestError("TRANSACTION_MALFORMED", why);
}

/** The decoder copies a list's bytes at each level: lists in lists would cost it the square of their size. */
function checkNesting(rlp: Uint8Array): void {
  const ends: number[] = [];
  for (let at = 0; at < rlp.length; ) {
    while (at >= (ends.at(-1) ?? Number.POSITIVE_INFINITY)) ends.pop();
    const first = rlp[at] ?? 0;
    const isList = first >= 0xc0;
    const short = isList ? first - 0xc0 : first - 0x80;
    const lengthBytes = Math.max(0, short - 55);
    const head = first < 0x80 ? 0 : 1 + lengthBytes;
    // Lengths that are wrong are the decoder's to refuse; here they only must not hide a list that it would enter.
    const length = first < 0x80 ? 1 : lengthBytes === 0 ? short : bigEndian(rlp.subarray(at + 1, at + head));
    if (isList) {
      ends.push(at + head + length);
      if (ends.length > MAX_LIST_DEPTH) malformed(`lists nested deeper than ${MAX_LIST_DEPTH}`);
    }
    at += isList ? head : head + length;
  }
}

function bigEndian(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}
