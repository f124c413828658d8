/**
 * Calls of contracts, decoded to be judged. Solidity's decoder follows any offset; the one here takes the one encoding
 * that Solidity's encoder writes: heads, then tails in order, nothing between them, nothing after. So what was decoded
 * is all there is, each byte is read once, and no call has two readings.
 */
import { checksummed } from "../ethereum-address.ts";
import { keccak256 } from "../keccak.ts";
import { type AbiType, parseParameters } from "./abi-types.ts";

/** Integers exact, addresses in EIP-55's form, `bytes` of either kind as they are. */
export type AbiValue = bigint | boolean | string | Uint8Array | readonly AbiValue[];

export interface FunctionSignature {
  /** Such as `transfer(address,uint256)`. */
  readonly text: string;
  /** The first four bytes of its keccak256, which a call begins with. */
  readonly selector: Uint8Array;
  readonly parameters: readonly AbiType[];
}

const WORD = 32;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Null for what is not a function's signature in its canonical spelling. */
export function parseSignature(text: string): FunctionSignature | null {
  const parameters = parseParameters(text);
  return parameters && { text, selector: keccak256(Buffer.from(text, "latin1")).subarray(0, 4), parameters };
}

/** Whether a call is for this function, whatever its arguments are. */
export function isCallOf({ selector }: FunctionSignature, data: Uint8Array): boolean {
  return data.length >= 4 && selector.every((byte, at) => byte === data[at]);
}

/**
 * The arguments of a call.
 *
 * Null for a call of another function, and for one whose arguments are not encoded as Solidity encodes them: the contract
 * may still take it. So null must never let a deny pass: ask {@link isCallOf} there.
 *
 * @param signature - Parse one that is used more than once: the selector is a hash.
 */
export function decodeCall(signature: FunctionSignature | string, data: Uint8Array): readonly AbiValue[] | null {
  const called = typeof signature === "string" ? parseSignature(signature) : signature;
  if (called === null || !isCallOf(called, data)) return null;
  return decodeParameters(called.parameters, data.subarray(4));
}

/** As {@link decodeCall}, for what stands behind a selector, or without one. */
export function decodeParameters(parameters: readonly AbiType[], bytes: Uint8Array): readonly AbiValue[] | null {
  try {
    const { values, end } = new Decoder(bytes).sequence(parameters, 0);
    return end === bytes.length ? values : null;
  } catch (error) {
    if (error instanceof NotCanonical) return null;
    throw error;
  }
}

/** For the ones that stand in our sources. */
export function knownSignature(text: string): FunctionSignature {
  const signature = parseSignature(text);
  if (signature === null) throw new Error(`not a signature: ${text}`);
  return signature;
}

class NotCanonical extends Error {}

class Decoder {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Values one after another, as tuples and arrays hold them: first all heads, then the tails of those that have one. */
  sequence(types: readonly AbiType[], start: number): { readonly values: AbiValue[]; readonly end: number } {
    const values: AbiValue[] = [];
    let head = start;
    let end = start + types.reduce((size, type) => size + headSize(type), 0);
    if (end > this.#bytes.length) throw new NotCanonical();
    for (const type of types) {
      if (isDynamic(type)) {
        if (this.#integer(head) !== BigInt(end - start)) throw new NotCanonical();
        const tail = this.#dynamic(type, end);
        values.push(tail.value);
        end = tail.end;
      } else values.push(this.#static(type, head));
      head += headSize(type);
    }
    return { values, end };
  }

  #dynamic(type: AbiType, start: number): { readonly value: AbiValue; readonly end: number } {
    if (type.kind === "bytes" || type.kind === "string") {
      const { bytes, end } = this.#byteString(start);
      return { value: type.kind === "bytes" ? bytes : text(bytes), end };
    }
    if (type.kind === "array" && type.length === null) {
      const length = this.#length(start, headSize(type.item));
      const { values, end } = this.sequence(repeated(type.item, length), start + WORD);
      return { value: values, end };
    }
    const { values, end } = this.sequence(this.#itemsOf(type), start);
    return { value: values, end };
  }

  #static(type: AbiType, at: number): AbiValue {
    const word = this.#word(at);
    switch (type.kind) {
      case "uint":
        return unsigned(word, type.bits / 8);
      case "int":
        return signed(word, type.bits);
      case "bool":
        return unsigned(word, 1) <= 1n ? word[WORD - 1] === 1 : notCanonical();
      case "address":
        return zeros(word.subarray(0, 12)) && checksummed(word.subarray(12));
      case "fixed-bytes":
        return zeros(word.subarray(type.size)) && Uint8Array.from(word.subarray(0, type.size));
      default:
        return this.sequence(this.#itemsOf(type), at).values;
    }
  }

  #itemsOf(type: AbiType): readonly AbiType[] {
    if (type.kind === "tuple") return type.items;
    if (type.kind !== "array" || type.length === null) throw new Error(`${type.kind} is no sequence`);
    // Checked before so many are made: a length is the signature's word, and the data is what there is.
    if (type.length > this.#bytes.length / WORD) throw new NotCanonical();
    return repeated(type.item, type.length);
  }

  #byteString(start: number): { readonly bytes: Uint8Array; readonly end: number } {
    const length = this.#length(start, 1);
    const from = start + WORD;
    const end = from + Math.ceil(length / WORD) * WORD;
    if (end > this.#bytes.length) throw new NotCanonical();
    zeros(this.#bytes.subarray(from + length, end));
    return { bytes: Uint8Array.from(this.#bytes.subarray(from, from + length)), end };
  }

  /** How many items of a size follow: never more than there are bytes for. */
  #length(at: number, itemSize: number): number {
    const length = this.#integer(at);
    if (length > BigInt(Math.floor((this.#bytes.length - at - WORD) / itemSize))) throw new NotCanonical();
    return Number(length);
  }

  #integer(at: number): bigint {
    return bigEndian(this.#word(at));
  }

  #word(at: number): Uint8Array {
    if (at + WORD > this.#bytes.length) throw new NotCanonical();
    return this.#bytes.subarray(at, at + WORD);
  }
}

function isDynamic(type: AbiType): boolean {
  switch (type.kind) {
    case "bytes":
    case "string":
      return true;
    case "array":
      return type.length === null || isDynamic(type.item);
    case "tuple":
      return type.items.some(isDynamic);
    default:
      return false;
  }
}

/** Bytes among the heads: an offset where the value stands elsewhere. Never 0, so that lengths bound what is made. */
function headSize(type: AbiType): number {
  if (isDynamic(type)) return WORD;
  if (type.kind === "array") return (type.length ?? 1) * headSize(type.item);
  return type.kind === "tuple" ? type.items.reduce((size, item) => size + headSize(item), 0) : WORD;
}

function repeated(type: AbiType, times: number): readonly AbiType[] {
  return Array.from({ length: times }, () => type);
}

function unsigned(word: Uint8Array, size: number): bigint {
  zeros(word.subarray(0, WORD - size));
  return bigEndian(word);
}

/** Two's complement, the sign in every byte before the value's own. */
function signed(word: Uint8Array, bits: number): bigint {
  const value = BigInt.asIntN(256, bigEndian(word));
  return BigInt.asIntN(bits, value) === value ? value : notCanonical();
}

function text(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return notCanonical();
  }
}

function zeros(bytes: Uint8Array): true {
  return bytes.every((byte) => byte === 0) || notCanonical();
}

function bigEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex")}`);
}

function notCanonical(): never {
  throw new NotCanonical();
}
