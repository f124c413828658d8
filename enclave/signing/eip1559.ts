/** EIP-1559 transactions: parsed to be decided on, written anew, and refused unless that gives the same bytes. */
import { RLP } from "@ethereumjs/rlp";
import { RequestError } from "../../protocol/index.ts";
import { keccak256 } from "./keccak.ts";
import type { DigestSigner } from "./secp256k1.ts";

const TRANSACTION_TYPE = 0x02;
/** EIP-1559: chain id, nonce, two fees, gas limit, to, value, data, access list. */
const UNSIGNED_FIELDS = 9;
const SIGNED_FIELDS = 12;
/** Fields, access list, entry, storage keys. */
const MAX_LIST_DEPTH = 4;
/** EIP-2681: a nonce is below 2^64 - 1. */
const MAX_NONCE = 2n ** 64n - 2n;
const MAX_UINT64 = 2n ** 64n - 1n;
const MAX_UINT256 = 2n ** 256n - 1n;

export interface Eip1559Transaction {
  readonly chainId: bigint;
  readonly nonce: bigint;
  readonly maxPriorityFeePerGas: bigint;
  readonly maxFeePerGas: bigint;
  readonly gasLimit: bigint;
  /** 20 bytes, or null for a contract's creation. */
  readonly to: Uint8Array | null;
  readonly valueWei: bigint;
  readonly data: Uint8Array;
  readonly accessList: readonly { readonly address: Uint8Array; readonly storageKeys: readonly Uint8Array[] }[];
}

type RlpItem = Uint8Array | RlpItem[];

/**
 * Parses an unsigned transaction, EIP-2718 type 2.
 *
 * @throws {@link RequestError} `TRANSACTION_TYPE_UNSUPPORTED`, `TRANSACTION_MALFORMED`
 */
export function parseEip1559(bytes: Uint8Array): Eip1559Transaction {
  const [type] = bytes;
  if (type === undefined) malformed("no bytes");
  if (type !== TRANSACTION_TYPE) {
    throw new RequestError(
      "TRANSACTION_TYPE_UNSUPPORTED",
      type >= 0xc0 ? "a legacy transaction; expected EIP-1559, type 2" : `type ${type}; expected EIP-1559, type 2`,
    );
  }
  checkNesting(bytes.subarray(1));
  let items: RlpItem;
  try {
    items = RLP.decode(bytes.subarray(1)) as RlpItem;
  } catch (cause) {
    throw new RequestError("TRANSACTION_MALFORMED", "not one RLP item with nothing after it", { cause });
  }
  if (!Array.isArray(items)) malformed("not a list");
  if (items.length === SIGNED_FIELDS) malformed("it is signed already");
  if (items.length !== UNSIGNED_FIELDS) malformed(`a list of ${items.length} fields, expected ${UNSIGNED_FIELDS}`);
  const transaction: Eip1559Transaction = {
    chainId: integer(items[0], MAX_UINT64, "chain id"),
    nonce: integer(items[1], MAX_NONCE, "nonce"),
    maxPriorityFeePerGas: integer(items[2], MAX_UINT256, "max priority fee"),
    maxFeePerGas: integer(items[3], MAX_UINT256, "max fee"),
    gasLimit: integer(items[4], MAX_UINT64, "gas limit"),
    to: recipient(items[5]),
    valueWei: integer(items[6], MAX_UINT256, "value"),
    data: byteString(items[7], "data"),
    accessList: accessList(items[8]),
  };
  if (transaction.chainId === 0n) malformed("chain id 0");
  if (transaction.maxPriorityFeePerGas > transaction.maxFeePerGas) malformed("the priority fee exceeds the max fee");
  // What was understood must be all there is: a second encoding of the same fields is refused.
  if (Buffer.compare(encode(fieldsOf(transaction)), bytes) !== 0) malformed("not the canonical encoding of its fields");
  return transaction;
}

export interface SignedTransaction {
  readonly bytes: Uint8Array;
  /** keccak256 of the bytes. */
  readonly hash: Uint8Array;
}

/** Signs what was parsed, not what was received; {@link parseEip1559} made sure that they are the same. */
export function signEip1559(transaction: Eip1559Transaction, signer: DigestSigner): SignedTransaction {
  const fields = fieldsOf(transaction);
  const { rs, recoveryId } = signer.signDigest(keccak256(encode(fields)));
  const signature = [minimal(BigInt(recoveryId)), stripZeros(rs.subarray(0, 32)), stripZeros(rs.subarray(32))];
  const bytes = encode([...fields, ...signature]);
  return { bytes, hash: keccak256(bytes) };
}

function fieldsOf(transaction: Eip1559Transaction): RlpItem[] {
  return [
    minimal(transaction.chainId),
    minimal(transaction.nonce),
    minimal(transaction.maxPriorityFeePerGas),
    minimal(transaction.maxFeePerGas),
    minimal(transaction.gasLimit),
    transaction.to ?? new Uint8Array(0),
    minimal(transaction.valueWei),
    transaction.data,
    transaction.accessList.map(({ address, storageKeys }) => [address, [...storageKeys]]),
  ];
}

function encode(fields: RlpItem[]): Uint8Array {
  return Buffer.concat([Uint8Array.of(TRANSACTION_TYPE), RLP.encode(fields)]);
}

/** Big-endian without leading zeros; zero is the empty string (Ethereum yellow paper, appendix B). */
function minimal(value: bigint): Uint8Array {
  if (value === 0n) return new Uint8Array(0);
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

function stripZeros(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? new Uint8Array(0) : bytes.subarray(first);
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

function byteString(item: RlpItem | undefined, name: string): Uint8Array {
  if (!(item instanceof Uint8Array)) malformed(`${name}: expected bytes`);
  return item;
}

function integer(item: RlpItem | undefined, max: bigint, name: string): bigint {
  const bytes = byteString(item, name);
  if (bytes[0] === 0) malformed(`${name}: leading zero`);
  if (bytes.length > 32) malformed(`${name}: ${bytes.length} bytes`);
  const value = bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  if (value > max) malformed(`${name}: over ${max}`);
  return value;
}

function recipient(item: RlpItem | undefined): Uint8Array | null {
  const bytes = byteString(item, "to");
  if (bytes.length === 0) return null;
  if (bytes.length !== 20) malformed(`to: ${bytes.length} bytes, expected 20`);
  return bytes;
}

function accessList(item: RlpItem | undefined): Eip1559Transaction["accessList"] {
  if (!Array.isArray(item)) malformed("access list: expected a list");
  return item.map((entry) => {
    if (!Array.isArray(entry) || entry.length !== 2) malformed("access list: expected pairs");
    const [address, keys] = entry;
    if (!(address instanceof Uint8Array) || address.length !== 20) malformed("access list: expected an address");
    if (!Array.isArray(keys)) malformed("access list: expected a list of storage keys");
    const storageKeys = keys.map((key) => {
      if (!(key instanceof Uint8Array) || key.length !== 32) malformed("access list: expected keys of 32 bytes");
      return key;
    });
    return { address, storageKeys };
  });
}

function malformed(why: string): never {
  throw new RequestError("TRANSACTION_MALFORMED", why);
}
