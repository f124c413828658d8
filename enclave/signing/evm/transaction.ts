/**
 * Transactions of types 0 to 4: parsed to be decided on, written anew, and refused unless that gives the same bytes. What is
 * signed is what was written.
 */
import { RequestError } from "../../../protocol/index.ts";
import { keccak256 } from "../keccak.ts";
import type { DigestSigner } from "../secp256k1.ts";
import { readAuthorization, type SignedAuthorization, writeAuthorization } from "./authorization.ts";
import {
  byteString,
  decodeRlpList,
  encodeRlp,
  fixedBytes,
  integer,
  list,
  MAX_NONCE,
  MAX_UINT64,
  MAX_UINT256,
  malformed,
  minimal,
  type RlpItem,
  stripZeros,
} from "./rlp.ts";

export type EvmTransactionType = 0 | 1 | 2 | 3 | 4;

export interface EvmTransaction {
  /** EIP-2718; 0 is a legacy transaction, with EIP-155's chain id. */
  readonly type: EvmTransactionType;
  readonly chainId: bigint;
  readonly nonce: bigint;
  /** Types 2 to 4; equal to `maxFeePerGas` elsewhere. */
  readonly maxPriorityFeePerGas: bigint;
  /** `gasPrice` of types 0 and 1. */
  readonly maxFeePerGas: bigint;
  readonly gasLimit: bigint;
  /** 20 bytes, or null for a contract's creation: types 0 to 2 alone. */
  readonly to: Uint8Array | null;
  readonly valueWei: bigint;
  readonly data: Uint8Array;
  /** EIP-2930. */
  readonly accessList: readonly AccessListEntry[];
  /** EIP-4844. */
  readonly maxFeePerBlobGas: bigint;
  readonly blobVersionedHashes: readonly Uint8Array[];
  /** EIP-7702. */
  readonly authorizations: readonly SignedAuthorization[];
}

export interface AccessListEntry {
  readonly address: Uint8Array;
  readonly storageKeys: readonly Uint8Array[];
}

type Field = Exclude<keyof EvmTransaction, "type"> | "gasPrice" | "none";

const FEE_MARKET = [
  ...(["chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas"] as const),
  ...(["gasLimit", "to", "valueWei", "data", "accessList"] as const),
] as const;

/** The fields of each type, unsigned, in their order. */
const LAYOUTS: Readonly<Record<EvmTransactionType, readonly Field[]>> = {
  // EIP-155: what is signed ends with the chain id and two empty fields, in the signature's places.
  0: ["nonce", "gasPrice", "gasLimit", "to", "valueWei", "data", "chainId", "none", "none"],
  1: ["chainId", "nonce", "gasPrice", "gasLimit", "to", "valueWei", "data", "accessList"],
  2: FEE_MARKET,
  3: [...FEE_MARKET, "maxFeePerBlobGas", "blobVersionedHashes"],
  4: [...FEE_MARKET, "authorizations"],
};
/** Of a legacy transaction; unsigned and without EIP-155, which comes after them, it is good on every chain. */
const LEGACY_FIELDS = 6;
/** EIP-4844's network form: the transaction, blobs, commitments and proofs, with a version in between since EIP-7594. */
const WITH_SIDECAR: ReadonlySet<number> = new Set([4, 5]);
/** Each costs the recovery of a key before anything is decided; the dearest block has room for some 1400. */
const MAX_AUTHORIZATIONS = 256;
/** EIP-4844: the first byte of a hash that is KZG's. */
const KZG_VERSION = 0x01;

/**
 * Parses an unsigned transaction.
 *
 * @throws {@link RequestError} `TRANSACTION_TYPE_UNSUPPORTED`, `TRANSACTION_MALFORMED`
 */
export function parseTransaction(bytes: Uint8Array): EvmTransaction {
  const type = typeOf(bytes);
  const items = decodeRlpList(type === 0 ? bytes : bytes.subarray(1));
  const layout = LAYOUTS[type];
  checkCount(type, items, layout.length);
  const transaction = transactionOf(type, new Map(layout.map((field, at) => [field, items[at]])));
  checkSense(transaction);
  // What was understood must be all there is: a second encoding of the same fields is refused.
  if (Buffer.compare(encode(type, fieldsOf(transaction)), bytes) !== 0)
    malformed("not the canonical encoding of its fields");
  return transaction;
}

export interface SignedTransaction {
  readonly bytes: Uint8Array;
  /** keccak256 of the bytes. */
  readonly hash: Uint8Array;
}

/** Signs what was parsed, not what was received; {@link parseTransaction} made sure that they are the same. */
export function signTransaction(transaction: EvmTransaction, signer: DigestSigner): SignedTransaction {
  const { type, chainId } = transaction;
  const fields = fieldsOf(transaction);
  const { rs, recoveryId } = signer.signDigest(keccak256(encode(type, fields)));
  const parity = BigInt(recoveryId);
  const signature = [
    minimal(type === 0 ? chainId * 2n + 35n + parity : parity),
    stripZeros(rs.subarray(0, 32)),
    stripZeros(rs.subarray(32)),
  ];
  const unsigned = type === 0 ? fields.slice(0, LEGACY_FIELDS) : fields;
  const bytes = encode(type, [...unsigned, ...signature]);
  return { bytes, hash: keccak256(bytes) };
}

function typeOf(bytes: Uint8Array): EvmTransactionType {
  const [first] = bytes;
  if (first === undefined) malformed("no bytes");
  if (first >= 0xc0) return 0;
  if (first === 1 || first === 2 || first === 3 || first === 4) return first;
  throw new RequestError(
    "TRANSACTION_TYPE_UNSUPPORTED",
    `type ${first}; expected a legacy transaction or types 1 to 4`,
  );
}

function checkCount(type: EvmTransactionType, items: readonly RlpItem[], expected: number): void {
  const isSigned =
    type === 0 ? items.length === expected && [items[7], items[8]].some(isNotEmpty) : items.length === expected + 3;
  if (isSigned) malformed("it is signed already");
  if (type === 0 && items.length === LEGACY_FIELDS) malformed("without a chain id (EIP-155)");
  if (type === 3 && WITH_SIDECAR.has(items.length) && Array.isArray(items[0])) {
    malformed("with its blobs: what is signed is the transaction alone");
  }
  if (items.length !== expected) malformed(`a list of ${items.length} fields, expected ${expected}`);
}

function isNotEmpty(item: RlpItem | undefined): boolean {
  return item !== undefined && item.length > 0;
}

function transactionOf(type: EvmTransactionType, items: ReadonlyMap<Field, RlpItem | undefined>): EvmTransaction {
  const maxFeePerGas = items.has("gasPrice")
    ? integer(items.get("gasPrice"), MAX_UINT256, "gas price")
    : integer(items.get("maxFeePerGas"), MAX_UINT256, "max fee");
  return {
    type,
    chainId: integer(items.get("chainId"), MAX_UINT64, "chain id"),
    nonce: integer(items.get("nonce"), MAX_NONCE, "nonce"),
    maxPriorityFeePerGas: items.has("gasPrice")
      ? maxFeePerGas
      : integer(items.get("maxPriorityFeePerGas"), MAX_UINT256, "max priority fee"),
    maxFeePerGas,
    gasLimit: integer(items.get("gasLimit"), MAX_UINT64, "gas limit"),
    to: recipient(items.get("to")),
    valueWei: integer(items.get("valueWei"), MAX_UINT256, "value"),
    data: byteString(items.get("data"), "data"),
    accessList: items.has("accessList") ? accessList(items.get("accessList")) : [],
    maxFeePerBlobGas: items.has("maxFeePerBlobGas")
      ? integer(items.get("maxFeePerBlobGas"), MAX_UINT256, "max blob fee")
      : 0n,
    blobVersionedHashes: items.has("blobVersionedHashes")
      ? list(items.get("blobVersionedHashes"), "blob hashes").map((item) => fixedBytes(item, 32, "blob hash"))
      : [],
    authorizations: items.has("authorizations")
      ? list(items.get("authorizations"), "authorizations").map(readAuthorization)
      : [],
  };
}

/** RLP writes a number that was forgotten as it writes 0: where no chain takes 0, it is refused as missing. */
function checkSense(transaction: EvmTransaction): void {
  const { type, maxFeePerGas, blobVersionedHashes } = transaction;
  if (transaction.chainId === 0n) malformed("chain id 0");
  if (maxFeePerGas === 0n) malformed(type < 2 ? "gas price 0" : "max fee 0");
  if (transaction.gasLimit === 0n) malformed("gas limit 0");
  if (transaction.maxPriorityFeePerGas > maxFeePerGas) malformed("the priority fee exceeds the max fee");
  if (type >= 3 && transaction.to === null) malformed(`type ${type} without a recipient`);
  if (type === 3) {
    if (transaction.maxFeePerBlobGas === 0n) malformed("max blob fee 0");
    if (blobVersionedHashes.length === 0) malformed("type 3 without blobs");
    if (blobVersionedHashes.some(([version]) => version !== KZG_VERSION)) malformed("blob hash: unknown version");
  }
  if (type === 4 && transaction.authorizations.length === 0) malformed("type 4 without authorizations");
  if (transaction.authorizations.length > MAX_AUTHORIZATIONS) malformed(`over ${MAX_AUTHORIZATIONS} authorizations`);
}

function fieldsOf(transaction: EvmTransaction): RlpItem[] {
  return LAYOUTS[transaction.type].map((field) => itemOf(transaction, field));
}

function itemOf(transaction: EvmTransaction, field: Field): RlpItem {
  switch (field) {
    case "to":
      return transaction.to ?? new Uint8Array(0);
    case "data":
      return transaction.data;
    case "accessList":
      return transaction.accessList.map(({ address, storageKeys }) => [address, [...storageKeys]]);
    case "blobVersionedHashes":
      return [...transaction.blobVersionedHashes];
    case "authorizations":
      return transaction.authorizations.map(writeAuthorization);
    case "gasPrice":
      return minimal(transaction.maxFeePerGas);
    case "none":
      return new Uint8Array(0);
    default:
      return minimal(transaction[field]);
  }
}

function encode(type: EvmTransactionType, fields: readonly RlpItem[]): Uint8Array {
  return encodeRlp(fields, type === 0 ? [] : [type]);
}

function recipient(item: RlpItem | undefined): Uint8Array | null {
  return byteString(item, "to").length === 0 ? null : fixedBytes(item, 20, "to");
}

function accessList(item: RlpItem | undefined): readonly AccessListEntry[] {
  return list(item, "access list").map((entry) => {
    if (!Array.isArray(entry) || entry.length !== 2) malformed("access list: expected pairs");
    const [address, keys] = entry;
    return {
      address: fixedBytes(address, 20, "access list's address"),
      storageKeys: list(keys, "access list's storage keys").map((key) => fixedBytes(key, 32, "storage key")),
    };
  });
}
