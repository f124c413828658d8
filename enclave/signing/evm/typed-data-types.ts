/**
 * EIP-712's types, as a closed set: each is defined or Solidity's own, each that is defined is used, none holds itself. A
 * type that nothing uses, or one that is missing, would be something to read that is not signed.
 */
import { type JsonValue, RequestError } from "../../../protocol/index.ts";
import { type AtomicType, parseAtomicType } from "./abi-types.ts";

export type FieldType =
  | AtomicType
  | { readonly kind: "bytes" | "string" }
  | { readonly kind: "array"; readonly item: FieldType; readonly length: number | null }
  | { readonly kind: "struct"; readonly struct: StructType };

export interface StructType {
  readonly name: string;
  readonly fields: readonly { readonly name: string; readonly type: FieldType }[];
  /** `encodeType`: its own fields, then those of every struct that it uses, sorted by name. */
  readonly encoded: string;
}

export const DOMAIN_TYPE = "EIP712Domain";

/** EIP-712: which fields a domain can have, in their order. */
const DOMAIN_FIELDS: readonly (readonly [name: string, type: string])[] = [
  ["name", "string"],
  ["version", "string"],
  ["chainId", "uint256"],
  ["verifyingContract", "address"],
  ["salt", "bytes32"],
];
const MAX_TYPES = 64;
const MAX_FIELDS = 64;
/** Arrays of arrays. */
const MAX_ARRAY_DEPTH = 4;
const MAX_NAME_LENGTH = 128;
/** Of a struct with all that it uses, as it is hashed. */
const MAX_ENCODED_LENGTH = 16_384;
const IDENTIFIER = /^[a-zA-Z_$][a-zA-Z0-9_$]*$/;
/** What Solidity calls its own types, those included that EIP-712 has no use for. */
const RESERVED = /^(?:address|bool|string|byte|function|mapping|u?int[0-9]*|bytes[0-9]*|u?fixed[0-9x]*)$/;

interface Field {
  readonly name: string;
  readonly type: string;
}

/**
 * The domain's type and the primary one's.
 *
 * @throws {@link RequestError} `TYPED_DATA_MALFORMED`
 */
export function parseTypes(
  types: JsonValue | undefined,
  primaryType: string,
): { readonly domain: StructType; readonly primary: StructType } {
  const definitions = readDefinitions(types);
  if (primaryType === DOMAIN_TYPE) malformed(`the primary type is ${DOMAIN_TYPE}`);
  checkDomain(definitions.get(DOMAIN_TYPE));
  const resolver = new Resolver(definitions);
  const domain = resolver.struct(DOMAIN_TYPE);
  const primary = resolver.struct(primaryType);
  const unused = [...definitions.keys()].find((name) => !resolver.resolved.has(name));
  if (unused !== undefined) malformed(`the type ${unused} is not used`);
  return { domain, primary };
}

/** @throws {@link RequestError} `TYPED_DATA_MALFORMED` */
export function malformed(why: string): never {
  throw new RequestError("TYPED_DATA_MALFORMED", why);
}

function readDefinitions(types: JsonValue | undefined): ReadonlyMap<string, readonly Field[]> {
  if (!isObject(types)) malformed("types: expected an object");
  const entries = Object.entries(types);
  if (entries.length > MAX_TYPES) malformed(`over ${MAX_TYPES} types`);
  return new Map(
    entries.map(([name, fields]) => {
      checkName(name, "a type");
      if (RESERVED.test(name)) malformed(`the type ${name} is Solidity's own`);
      return [name, readFields(name, fields)];
    }),
  );
}

function readFields(type: string, fields: JsonValue): readonly Field[] {
  if (!Array.isArray(fields)) malformed(`${type}: expected a list of fields`);
  if (fields.length === 0) malformed(`${type}: no fields`);
  if (fields.length > MAX_FIELDS) malformed(`${type}: over ${MAX_FIELDS} fields`);
  const read = fields.map((field): Field => {
    if (!isObject(field)) malformed(`${type}: expected fields of a name and a type`);
    const { name, type: fieldType, ...more } = field;
    if (typeof name !== "string" || typeof fieldType !== "string" || Object.keys(more).length > 0) {
      malformed(`${type}: expected fields of a name and a type`);
    }
    checkName(name, `${type}: a field`);
    return { name, type: fieldType };
  });
  if (new Set(read.map(({ name }) => name)).size < read.length) malformed(`${type}: two fields of one name`);
  return read;
}

function checkName(name: string, what: string): void {
  if (name.length > MAX_NAME_LENGTH || !IDENTIFIER.test(name)) malformed(`${what} whose name is no identifier`);
}

function checkDomain(fields: readonly Field[] | undefined): void {
  if (fields === undefined) malformed(`types: no ${DOMAIN_TYPE}`);
  let after = -1;
  for (const { name, type } of fields) {
    const at = DOMAIN_FIELDS.findIndex(([known, its]) => known === name && its === type);
    if (at < 0) malformed(`${DOMAIN_TYPE}: it has no ${type} ${name}`);
    if (at < after) malformed(`${DOMAIN_TYPE}: ${name} is out of order`);
    after = at;
  }
}

class Resolver {
  readonly resolved = new Map<string, StructType>();
  readonly #definitions: ReadonlyMap<string, readonly Field[]>;
  /** Under way: to meet one of them again is a cycle. */
  readonly #open = new Set<string>();

  constructor(definitions: ReadonlyMap<string, readonly Field[]>) {
    this.#definitions = definitions;
  }

  struct(name: string): StructType {
    const known = this.resolved.get(name);
    if (known !== undefined) return known;
    const definition = this.#definitions.get(name);
    if (definition === undefined) malformed(`the type ${shown(name)} is not defined`);
    if (this.#open.has(name)) malformed(`the type ${name} holds itself`);
    this.#open.add(name);
    const fields = definition.map((field) => ({ name: field.name, type: this.#field(field.type, 0) }));
    this.#open.delete(name);
    const struct = { name, fields, encoded: this.#encode(name, fields) };
    if (struct.encoded.length > MAX_ENCODED_LENGTH) malformed(`the type ${name} is longer than ${MAX_ENCODED_LENGTH}`);
    this.resolved.set(name, struct);
    return struct;
  }

  #field(text: string, depth: number): FieldType {
    const [, item, length] = /^(.+)\[([1-9][0-9]{0,8})?\]$/.exec(text) ?? [];
    if (item !== undefined) {
      if (depth >= MAX_ARRAY_DEPTH) malformed(`arrays nested deeper than ${MAX_ARRAY_DEPTH}`);
      return {
        kind: "array",
        item: this.#field(item, depth + 1),
        length: length === undefined ? null : Number(length),
      };
    }
    if (text === "bytes" || text === "string") return { kind: text };
    if (text === DOMAIN_TYPE) malformed(`${DOMAIN_TYPE} as a field`);
    return parseAtomicType(text) ?? { kind: "struct", struct: this.struct(text) };
  }

  #encode(name: string, fields: StructType["fields"]): string {
    const used = new Map<string, readonly Field[]>();
    const add = ({ type }: { readonly type: FieldType }): void => {
      const struct = structOf(type);
      if (struct === null || used.has(struct.name)) return;
      used.set(struct.name, this.#definitions.get(struct.name) ?? []);
      struct.fields.forEach(add);
    };
    fields.forEach(add);
    const sorted = [...used].sort(([one], [other]) => (one < other ? -1 : 1));
    return [[name, this.#definitions.get(name) ?? []] as const, ...sorted]
      .map(([each, its]) => `${each}(${its.map(({ type, name: field }) => `${type} ${field}`).join(",")})`)
      .join("");
  }
}

function structOf(type: FieldType): StructType | null {
  if (type.kind === "array") return structOf(type.item);
  return type.kind === "struct" ? type.struct : null;
}

export function isObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A caller's text, in a message that may be logged by them. */
function shown(text: string): string {
  return IDENTIFIER.test(text) && text.length <= MAX_NAME_LENGTH ? text : "of an impossible name";
}
