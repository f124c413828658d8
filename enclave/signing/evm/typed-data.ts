/**
 * EIP-712: read strictly, hashed from what was read. Every field of a message is one that its type names and the other way
 * round, every value has one reading, so that what policies are told is all that the signature covers.
 */
import { decodeHex, type JsonValue } from "../../../protocol/index.ts";
import type { EvmTypedDataFacts, TypedDataStruct, TypedDataValue } from "../../policy/facts.ts";
import { addressBytes, checksummed } from "../ethereum-address.ts";
import { keccak256 } from "../keccak.ts";
import { type FieldType, isObject, malformed, parseTypes, type StructType } from "./typed-data-types.ts";

export interface TypedData extends Pick<EvmTypedDataFacts, "domain" | "primaryType" | "message"> {
  /** keccak256 of 0x1901 ‖ domain's hash ‖ message's hash. */
  readonly digest: Uint8Array;
}

/** Structs, lists and values altogether: each costs a hash at most. */
const MAX_VALUES = 8192;
const PREFIX = Uint8Array.of(0x19, 0x01);

/**
 * Parses what `eth_signTypedData_v4` takes, parsed as JSON already: integers as JSON numbers or decimal strings, bytes in hex
 * with 0x, addresses in lower case or in EIP-55's.
 *
 * @throws {@link RequestError} `TYPED_DATA_MALFORMED`
 */
export function parseTypedData(json: JsonValue): TypedData {
  if (!isObject(json)) malformed("expected an object");
  const { types, primaryType, domain, message, ...more } = json;
  if (Object.keys(more).length > 0) malformed("expected types, primaryType, domain and message, and no more");
  if (typeof primaryType !== "string") malformed("primaryType: expected a name");
  const structs = parseTypes(types, primaryType);
  const reader = new Reader();
  const readDomain = reader.struct(structs.domain, domain, "domain");
  // Of ERC-4337's entry points, which sign user operations as typed data since 0.8: they have an operation and facts of their own.
  if (readDomain.value["name"] === "ERC4337") malformed("a user operation: ask for sign_user_operation");
  const readMessage = reader.struct(structs.primary, message, "message");
  return {
    digest: keccak256(Buffer.concat([PREFIX, readDomain.hash, readMessage.hash])),
    domain: domainOf(readDomain.value),
    primaryType,
    message: readMessage.value,
  };
}

interface ReadStruct {
  readonly value: TypedDataStruct;
  /** `hashStruct`. */
  readonly hash: Uint8Array;
}

interface ReadValue {
  readonly value: TypedDataValue;
  /** `encodeData` of one field: 32 bytes. */
  readonly word: Uint8Array;
}

class Reader {
  #values = 0;
  readonly #typeHashes = new Map<StructType, Uint8Array>();

  /** `where`: the path to it, which the caller knows. */
  struct(type: StructType, json: JsonValue | undefined, where: string): ReadStruct {
    this.#count();
    if (!isObject(json)) malformed(`${where}: expected an object`);
    const words = [this.#typeHash(type)];
    const values: [string, TypedDataValue][] = [];
    for (const { name, type: fieldType } of type.fields) {
      if (!Object.hasOwn(json, name)) malformed(`${where}.${name}: missing`);
      const { value, word } = this.#value(fieldType, json[name], `${where}.${name}`);
      values.push([name, value]);
      words.push(word);
    }
    if (Object.keys(json).length > type.fields.length) malformed(`${where}: fields that ${type.name} does not have`);
    return { value: Object.fromEntries(values), hash: keccak256(Buffer.concat(words)) };
  }

  #value(type: FieldType, json: JsonValue | undefined, where: string): ReadValue {
    // A struct counts itself.
    if (type.kind !== "struct") this.#count();
    switch (type.kind) {
      case "struct": {
        const { value, hash } = this.struct(type.struct, json, where);
        return { value, word: hash };
      }
      case "array":
        return this.#array(type, json, where);
      case "uint":
      case "int":
        return integer(type.kind, type.bits, json, where);
      case "bool":
        if (typeof json !== "boolean") malformed(`${where}: expected true or false`);
        return { value: json, word: word(json ? 1n : 0n) };
      case "address":
        return address(json, where);
      case "string":
        if (typeof json !== "string" || !json.isWellFormed()) malformed(`${where}: expected a string`);
        return { value: json, word: keccak256(Buffer.from(json, "utf8")) };
      case "bytes": {
        const value = hex(json, where);
        return { value, word: keccak256(value) };
      }
      case "fixed-bytes": {
        const value = hex(json, where);
        if (value.length !== type.size) malformed(`${where}: ${value.length} bytes, expected ${type.size}`);
        return { value, word: Buffer.concat([value, new Uint8Array(32 - type.size)]) };
      }
    }
  }

  #array(type: FieldType & { readonly kind: "array" }, json: JsonValue | undefined, where: string): ReadValue {
    if (!Array.isArray(json)) malformed(`${where}: expected a list`);
    if (type.length !== null && json.length !== type.length)
      malformed(`${where}: ${json.length} items, not ${type.length}`);
    const items = json.map((item, at) => this.#value(type.item, item, `${where}[${at}]`));
    return {
      value: items.map(({ value }) => value),
      word: keccak256(Buffer.concat(items.map((item) => item.word))),
    };
  }

  #typeHash(type: StructType): Uint8Array {
    const known = this.#typeHashes.get(type);
    if (known !== undefined) return known;
    const hash = keccak256(Buffer.from(type.encoded, "latin1"));
    this.#typeHashes.set(type, hash);
    return hash;
  }

  #count(): void {
    this.#values += 1;
    if (this.#values > MAX_VALUES) malformed(`over ${MAX_VALUES} values`);
  }
}

/** A JSON number, or a decimal string with neither leading zeros nor a plus: one spelling where one is given. */
function integer(kind: "uint" | "int", bits: number, json: JsonValue | undefined, where: string): ReadValue {
  const isInteger =
    typeof json === "number"
      ? Number.isSafeInteger(json)
      : typeof json === "string" && /^(?:0|-?[1-9][0-9]{0,77})$/.test(json);
  if (!isInteger) malformed(`${where}: expected an integer, as a number or a decimal string`);
  const value = BigInt(json as number | string);
  const fits = kind === "uint" ? BigInt.asUintN(bits, value) === value : BigInt.asIntN(bits, value) === value;
  if (!fits) malformed(`${where}: not within ${kind}${bits}`);
  return { value, word: word(BigInt.asUintN(256, value)) };
}

function address(json: JsonValue | undefined, where: string): ReadValue {
  const bytes = typeof json === "string" ? addressBytes(json) : null;
  if (bytes === null) malformed(`${where}: expected an address, in lower case or in EIP-55's`);
  return { value: checksummed(bytes), word: Buffer.concat([new Uint8Array(12), bytes]) };
}

function hex(json: JsonValue | undefined, where: string): Uint8Array {
  if (typeof json !== "string" || !/^0x(?:[0-9a-fA-F]{2})*$/.test(json)) malformed(`${where}: expected 0x and hex`);
  return decodeHex(json.slice(2));
}

function word(value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex");
}

/** Its types were checked with its type. */
function domainOf(domain: TypedDataStruct): EvmTypedDataFacts["domain"] {
  const { name = null, version = null, chainId = null, verifyingContract = null, salt = null } = domain;
  return {
    name: typeof name === "string" ? name : null,
    version: typeof version === "string" ? version : null,
    chainId: typeof chainId === "bigint" ? chainId : null,
    verifyingContract: typeof verifyingContract === "string" ? verifyingContract : null,
    salt: salt instanceof Uint8Array ? Buffer.from(salt).toString("hex") : null,
  };
}
