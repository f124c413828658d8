/** EIP-712 against the EIP's own example and viem, which shares no code with what is tested. */
import fc from "fast-check";
import { getAddress, hashTypedData, hexToBytes, toHex } from "viem";
import { describe, expect, test } from "vitest";
import { signatureOver } from "../../../../enclave/signing/evm/eip191.ts";
import { parseTypedData } from "../../../../enclave/signing/evm/typed-data.ts";
import { signRecoverable } from "../../../../enclave/signing/secp256k1.ts";
import { type JsonValue, RequestError } from "../../../../protocol/index.ts";

type Json = { [field: string]: JsonValue };

const PERSON = "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826";
const CONTRACT = "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC";
/** The EIP's own example. */
const MAIL: Json = {
  types: {
    EIP712Domain: [
      { name: "name", type: "string" },
      { name: "version", type: "string" },
      { name: "chainId", type: "uint256" },
      { name: "verifyingContract", type: "address" },
    ],
    Person: [
      { name: "name", type: "string" },
      { name: "wallet", type: "address" },
    ],
    Mail: [
      { name: "from", type: "Person" },
      { name: "to", type: "Person" },
      { name: "contents", type: "string" },
    ],
  },
  primaryType: "Mail",
  domain: { name: "Ether Mail", version: "1", chainId: 1, verifyingContract: CONTRACT },
  message: {
    from: { name: "Cow", wallet: PERSON },
    to: { name: "Bob", wallet: "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB" },
    contents: "Hello, Bob!",
  },
};

describe("the EIP's own example", () => {
  test("has its digest and its signature", () => {
    const { digest } = parseTypedData(MAIL);
    expect(toHex(digest)).toBe("0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    // Its key is keccak256("cow").
    const key = hexToBytes("0xc85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4");
    expect(toHex(signatureOver(digest, { signDigest: (bytes) => signRecoverable(bytes, key) }))).toBe(
      "0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d" +
        "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c",
    );
  });

  test("is told to policies field by field", () => {
    const { digest: _digest, ...facts } = parseTypedData(MAIL);
    expect(facts).toEqual({
      domain: { name: "Ether Mail", version: "1", chainId: 1n, verifyingContract: CONTRACT, salt: null },
      primaryType: "Mail",
      message: MAIL["message"],
    });
  });
});

/** A value as JSON has it, and as viem takes it. */
interface Drawn {
  readonly json: JsonValue;
  readonly viem: unknown;
}
interface DrawnType {
  readonly type: string;
  readonly value: fc.Arbitrary<Drawn>;
  /** Structs that it uses, itself included. */
  readonly types: Readonly<Record<string, readonly { readonly name: string; readonly type: string }[]>>;
}

const hexOf = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes): Drawn => ({ json: toHex(bytes), viem: toHex(bytes) }));
const integers = (name: string, size: number, min: bigint, max: bigint): DrawnType => ({
  type: `${name}${size}`,
  types: {},
  value: fc.tuple(fc.bigInt(min, max), fc.boolean()).map(([value, asNumber]) => ({
    json: asNumber && Number.isSafeInteger(Number(value)) ? Number(value) : value.toString(),
    viem: value,
  })),
});
const sizes = fc.integer({ min: 1, max: 32 });
const atomic = fc.oneof(
  sizes.map((size) => integers("uint", size * 8, 0n, 2n ** BigInt(size * 8) - 1n)),
  sizes.map((size) => integers("int", size * 8, -(2n ** BigInt(size * 8 - 1)), 2n ** BigInt(size * 8 - 1) - 1n)),
  sizes.map((size): DrawnType => ({ type: `bytes${size}`, types: {}, value: hexOf(size, size) })),
  fc.constant<DrawnType>({ type: "bytes", types: {}, value: hexOf(0, 70) }),
  fc.constant<DrawnType>({
    ...{ type: "address", types: {} },
    value: fc.tuple(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.boolean()).map(([bytes, isChecked]) => {
      const address = isChecked ? getAddress(toHex(bytes)) : toHex(bytes);
      return { json: address, viem: address };
    }),
  }),
  fc.constant<DrawnType>({
    type: "bool",
    types: {},
    value: fc.boolean().map((value) => ({ json: value, viem: value })),
  }),
  fc.constant<DrawnType>({
    ...{ type: "string", types: {} },
    value: fc.string({ unit: "grapheme", maxLength: 30 }).map((value) => ({ json: value, viem: value })),
  }),
);

let structs = 0;
const arrayOf = ({ type, value, types }: DrawnType, length: number | null): DrawnType => ({
  ...{ type: `${type}[${length ?? ""}]`, types },
  value: fc
    .array(value, length === null ? { maxLength: 3 } : { minLength: length, maxLength: length })
    .map((items) => ({
      json: items.map(({ json }) => json),
      viem: items.map(({ viem }) => viem),
    })),
});
function structOf(fields: readonly DrawnType[]): DrawnType {
  structs += 1;
  // Names that sort otherwise than they are made.
  const type = `${["Zed", "abc", "Order", "_"][structs % 4]}${structs}`;
  const named = fields.map((field, at) => ({ name: `f${at}`, field }));
  return {
    type,
    types: Object.assign({}, ...fields.map(({ types }) => types), {
      [type]: named.map(({ name, field }) => ({ name, type: field.type })),
    }),
    value: fc.tuple(...fields.map(({ value }) => value)).map((values) => ({
      json: Object.fromEntries(named.map(({ name }, at) => [name, values[at]?.json ?? null])),
      viem: Object.fromEntries(named.map(({ name }, at) => [name, values[at]?.viem])),
    })),
  };
}
const anyType: fc.Arbitrary<DrawnType> = fc.letrec<{ type: DrawnType }>((tie) => ({
  type: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    atomic,
    fc.tuple(tie("type"), fc.option(fc.integer({ min: 1, max: 3 }))).map(([item, length]) => arrayOf(item, length)),
    fc.array(tie("type"), { minLength: 1, maxLength: 3 }).map(structOf),
  ),
})).type;
const domainFields = [
  ["name", "string", fc.string({ maxLength: 10 })],
  ["version", "string", fc.string({ maxLength: 3 })],
  ["chainId", "uint256", fc.nat()],
  ["verifyingContract", "address", fc.constantFrom<string>(PERSON, CONTRACT)],
  ["salt", "bytes32", hexOf(32, 32).map(({ json }) => json)],
] as const;
const domains = fc
  .tuple(
    fc.subarray([...domainFields], { minLength: 1 }),
    fc.tuple(...domainFields.map(([, , value]) => value as fc.Arbitrary<JsonValue>)),
  )
  .map(([fields, values]) => ({
    types: fields.map(([name, type]) => ({ name, type })),
    value: Object.fromEntries(
      fields.map(([name]): [string, JsonValue] => [
        name,
        values[domainFields.findIndex(([its]) => its === name)] ?? null,
      ]),
    ),
  }));

const documents = fc
  .array(anyType, { minLength: 1, maxLength: 4 })
  .map(structOf)
  .chain((primary) => fc.record({ primary: fc.constant(primary), message: primary.value, domain: domains }))
  .map(({ primary, message, domain }) => {
    const types = { ...primary.types, EIP712Domain: domain.types };
    const shared = { types, primaryType: primary.type, domain: domain.value };
    return {
      json: { ...shared, message: message.json } as unknown as Json,
      viem: { ...shared, message: message.viem },
    };
  });

describe("any typed data", () => {
  test("has viem's digest, and is told as it was given", () => {
    fc.assert(
      fc.property(documents, ({ json, viem }) => {
        const parsed = parseTypedData(json);
        expect(toHex(parsed.digest)).toBe(hashTypedData(viem as never));
        expect(asJson(parsed.message)).toEqual(asGiven(json["message"] ?? null));
        const { salt, ...domain } = parsed.domain;
        const told = { ...domain, salt: salt === null ? null : `0x${salt}` };
        expect(asJson(Object.fromEntries(Object.entries(told).filter(([, value]) => value !== null)))).toEqual(
          asGiven(json["domain"] ?? null),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("with a field more or less anywhere is refused", () => {
    fc.assert(
      fc.property(documents, fc.nat(), fc.boolean(), ({ json }, place, isMore) => {
        const changed = structuredClone(json);
        const objects = objectsOf(changed);
        const object = objects[place % objects.length] ?? changed;
        if (isMore) object["another"] = 1;
        else delete object[Object.keys(object)[place % Object.keys(object).length] ?? ""];
        expectMalformed(changed);
      }),
      { numRuns: 500 },
    );
  });

  test("of any shape is parsed or refused by code, and nothing else is thrown", () => {
    const scalars = fc.oneof(
      fc.constantFrom<JsonValue>(
        "uint256",
        "Mail",
        "string",
        "EIP712Domain",
        "0x",
        "-1",
        "1",
        PERSON,
        null,
        true,
        1,
        -1,
      ),
      fc.string(),
      fc.integer(),
    );
    const outcomes = { parsed: 0, refused: 0 };
    fc.assert(
      fc.property(documents, fc.nat(), scalars, ({ json }, place, value) => {
        const changed = structuredClone(json);
        const places = placesOf(changed);
        const [holder, key] = places[place % places.length] ?? [changed, "types"];
        (holder as Json)[key] = value;
        try {
          parseTypedData(changed);
          outcomes.parsed += 1;
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
          expect((error as RequestError).code).toBe("TYPED_DATA_MALFORMED");
          outcomes.refused += 1;
        }
      }),
      { numRuns: 1_500 },
    );
    expect(Math.min(outcomes.parsed, outcomes.refused)).toBeGreaterThan(20);
  });
});

/** The example with some of it changed. */
function mail(changes: Partial<Json> & { readonly types?: Json } = {}): Json {
  const { types, ...rest } = changes;
  return { ...MAIL, ...rest, types: { ...(MAIL["types"] as Json), ...types } } as Json;
}
const domainTypes = (MAIL["types"] as { EIP712Domain: JsonValue[] }).EIP712Domain;
const field = (name: string, type: string): JsonValue => ({ name, type });
/** One struct `T` of one field `f`. */
function single(type: string, value: JsonValue, more: Json = {}): Json {
  const domain = { EIP712Domain: [field("chainId", "uint256")], T: [field("f", type)] };
  return { types: { ...domain, ...more }, primaryType: "T", domain: { chainId: 1 }, message: { f: value } };
}
const nested = (depth: number): Json =>
  Object.fromEntries(
    Array.from({ length: depth }, (_, at) => [`S${at}`, [field("f", at + 1 < depth ? `S${at + 1}` : "bool")]]),
  );

describe("refused", () => {
  test.each<[string, JsonValue, RegExp]>([
    ["no object", [], /expected an object/],
    ["null", null, /expected an object/],
    ["a fifth part", { ...MAIL, signature: "0x" }, /and no more/],
    ["no types", { primaryType: "Mail", domain: {}, message: {} }, /types: expected an object/],
    ["no domain", { types: MAIL["types"] ?? null, primaryType: "Mail", message: {} }, /domain: expected an object/],
    [
      "no message",
      { types: MAIL["types"] ?? null, primaryType: "Mail", domain: MAIL["domain"] ?? null },
      /message: exp/,
    ],
    ["a primary type that is no name", mail({ primaryType: 1 }), /primaryType: expected a name/],
    ["a primary type that is not defined", mail({ primaryType: "Letter" }), /Letter is not defined/],
    ["a primary type of Solidity's", mail({ primaryType: "string" }), /string is not defined/],
    ["the domain as the primary type", mail({ primaryType: "EIP712Domain" }), /primary type is EIP712Domain/],
    ["a primary type with brackets", mail({ primaryType: "Mail[]" }), /not defined/],
    ["types without the domain's", mail({ types: { EIP712Domain: null } }), /EIP712Domain: expected a list/],
    ["a domain type of no fields", mail({ types: { EIP712Domain: [] } }), /no fields/],
    [
      "a domain field that EIP-712 does not have",
      mail({ types: { EIP712Domain: [field("owner", "address")] } }),
      /has no/,
    ],
    [
      "a domain field of another type",
      mail({ types: { EIP712Domain: [field("chainId", "uint64")] } }),
      /has no uint64/,
    ],
    ["domain fields out of order", mail({ types: { EIP712Domain: domainTypes.toReversed() } }), /out of order/],
    [
      "a domain with a field that its type has not",
      mail({ types: { EIP712Domain: domainTypes.slice(1) } }),
      /does not have/,
    ],
    ["a domain without one that it has", mail({ domain: { name: "Ether Mail" } }), /domain\.version: missing/],
    ["a domain whose chain id is negative", mail({ domain: { ...(MAIL["domain"] as Json), chainId: -1 } }), /uint256/],
    ["a user operation", mail({ domain: { ...(MAIL["domain"] as Json), name: "ERC4337" } }), /sign_user_operation/],
    ["a type that nothing uses", mail({ types: { Other: [field("a", "bool")] } }), /Other is not used/],
    ["a type of no fields", mail({ types: { Person: [] } }), /no fields/],
    ["a type that is no list", mail({ types: { Person: {} } }), /expected a list of fields/],
    ["a type by Solidity's name", single("uint256", 1, { uint256: [field("a", "bool")] }), /Solidity's own/],
    ["a type by an alias of Solidity's", single("uint", { a: true }, { uint: [field("a", "bool")] }), /Solidity's own/],
    ["a type whose name is no identifier", single("A(b", {}, { "A(b": [field("a", "bool")] }), /no identifier/],
    ["a field without a type", mail({ types: { Person: [{ name: "a" }] } }), /a name and a type/],
    [
      "a field with more than those",
      mail({ types: { Person: [{ name: "a", type: "bool", indexed: true }] } }),
      /a name and/,
    ],
    ["a field that is a text", mail({ types: { Person: ["a"] } }), /a name and a type/],
    ["a field whose name is no identifier", single("T2", {}, { T2: [field("a b", "bool")] }), /no identifier/],
    ["two fields of one name", single("T2", {}, { T2: [field("a", "bool"), field("a", "bool")] }), /two fields/],
    ["a type that holds itself", single("T", {}), /T holds itself/],
    ["a type that holds itself in a list", single("T[]", []), /T holds itself/],
    ["types that hold each other", single("A", {}, { A: [field("b", "B")], B: [field("a", "A")] }), /A holds itself/],
    ["the domain as a field", single("EIP712Domain", { chainId: 1 }), /EIP712Domain as a field/],
    ...["uint", "int", "uint7", "uint264", "bytes0", "bytes33", "byte", "function", "fixed128x18"].map(
      (type): [string, JsonValue, RegExp] => [`the type ${type}`, single(type, 1), /not defined/],
    ),
    ["a type that is no name", single("bool ", true), /impossible name/],
    ["an array of length 0", single("bool[0]", []), /impossible name/],
    ["an array of five levels", single("bool[][][][][]", []), /deeper than 4/],
    ["over 64 types", single("S0", {}, nested(64)), /over 64 types/],
    [
      "over 64 fields",
      single("A", {}, { A: Array.from({ length: 65 }, (_, at) => field(`f${at}`, "bool")) }),
      /over 64 fields/,
    ],
    ["types too long to hash", single("S0", {}, long(60)), /longer than 16384/],
    ["a name of 129 characters", single("A", {}, { A: [field("a".repeat(129), "bool")] }), /no identifier/],
    [
      "a message field more",
      single("A", { a: true, b: true }, { A: [field("a", "bool")] }),
      /message\.f: fields that A/,
    ],
    ["a message field less", single("A", {}, { A: [field("a", "bool")] }), /message\.f\.a: missing/],
    ["a message field that every object inherits", single("A", {}, { A: [field("toString", "string")] }), /missing/],
    ["null for a struct", single("A", null, { A: [field("a", "bool")] }), /message\.f: expected an object/],
    ["a list for a struct", single("A", [], { A: [field("a", "bool")] }), /expected an object/],
    ["an object for a list", single("bool[]", {}), /expected a list/],
    ["a list too short", single("bool[2]", [true]), /1 items, not 2/],
    ["a list too long", single("bool[1]", [true, true]), /2 items, not 1/],
    [
      "over 8192 values",
      single(
        "bool[]",
        Array.from({ length: 8192 }, () => true),
      ),
      /over 8192 values/,
    ],
    ["a number for a bool", single("bool", 1), /true or false/],
    ["a text for a bool", single("bool", "true"), /true or false/],
    ["a number for a string", single("string", 1), /expected a string/],
    ["null for a string", single("string", null), /expected a string/],
    ["half a surrogate pair", single("string", "\ud800"), /expected a string/],
    ["bytes without 0x", single("bytes", "00"), /0x and hex/],
    ["bytes of an odd digit", single("bytes", "0x0"), /0x and hex/],
    ["a number for bytes", single("bytes4", 1), /0x and hex/],
    ["bytes4 of three", single("bytes4", "0x010203"), /3 bytes, expected 4/],
    ["bytes4 of five", single("bytes4", "0x0102030405"), /5 bytes, expected 4/],
    ["an address whose case does not check", single("address", PERSON.replace("CD2a", "cD2a")), /expected an address/],
    ["an address in upper case", single("address", `0x${"AB".repeat(20)}`), /expected an address/],
    ["an address of 19 bytes", single("address", `0x${"11".repeat(19)}`), /expected an address/],
    ["a number for an address", single("address", 1), /expected an address/],
    ["uint8 of 256", single("uint8", 256), /not within uint8/],
    ["uint8 of -1", single("uint8", -1), /not within uint8/],
    ["int8 of 128", single("int8", 128), /not within int8/],
    ["int8 of -129", single("int8", "-129"), /not within int8/],
    ["uint256 of 2^256", single("uint256", (2n ** 256n).toString()), /not within uint256/],
    ["a fraction", single("uint256", 1.5), /expected an integer/],
    ["a number over 2^53", single("uint256", 2 ** 60), /expected an integer/],
    ...["", " 1", "1 ", "01", "+1", "-0", "--1", "1e3", "0x1", "1.0", "one", "9".repeat(79)].map(
      (text): [string, JsonValue, RegExp] => [
        `an integer written ${JSON.stringify(text)}`,
        single("uint256", text),
        /expected an/,
      ],
    ),
  ])("%s", (_what, json, why) => {
    expectMalformed(json, why);
  });

  function long(count: number): Json {
    const name = (at: number) => `S${at}`;
    const fields = (at: number) =>
      Array.from({ length: 4 }, (_, n) => field(`${"x".repeat(100)}${n}`, at + 1 < count ? name(at + 1) : "bool"));
    return Object.fromEntries(Array.from({ length: count }, (_, at) => [name(at), fields(at)]));
  }
});

test("what is accepted without a chain id says so", () => {
  const json = { ...single("bool", true), domain: { name: "Snapshot" } } as Json;
  json["types"] = { EIP712Domain: [field("name", "string")], T: [field("f", "bool")] };
  expect(parseTypedData(json).domain).toEqual({
    ...{ name: "Snapshot", version: null, chainId: null, verifyingContract: null, salt: null },
  });
});

function expectMalformed(json: JsonValue, why: RegExp = /./): void {
  let refusal: unknown;
  try {
    parseTypedData(json);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(RequestError);
  expect(refusal).toMatchObject({ code: "TYPED_DATA_MALFORMED", message: expect.stringMatching(why) });
}

/** What policies are told, written as JSON again: integers as decimal strings, bytes as hex, all in lower case. */
function asJson(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value !== "object" || value === null) return asGiven(value as JsonValue);
  return Object.fromEntries(Object.entries(value).map(([name, its]) => [name, asJson(its)]));
}

function asGiven(value: JsonValue): unknown {
  if (typeof value === "number") return value.toString();
  if (typeof value === "string" && /^0x[0-9a-fA-F]{40}$/.test(value)) return value.toLowerCase();
  if (Array.isArray(value)) return value.map(asGiven);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, its]) => [name, asGiven(its)]));
}

/** Every object whose fields a type names. */
function objectsOf(json: Json): Json[] {
  const inside = (value: JsonValue): Json[] => {
    if (Array.isArray(value)) return value.flatMap(inside);
    return typeof value === "object" && value !== null ? [value, ...Object.values(value).flatMap(inside)] : [];
  };
  return [json["domain"] as Json, ...inside(json["message"] ?? null)];
}

function placesOf(value: JsonValue): (readonly [object, string])[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, its]) => [[value, key] as const, ...placesOf(its)]);
}
