/** Calls against viem, which shares no code with what decodes them here: its encoder judges. */
import fc from "fast-check";
import { encodeAbiParameters, encodeFunctionData, type Hex, hexToBytes, parseAbi, parseAbiItem, toHex } from "viem";
import { describe, expect, test } from "vitest";
import { type AbiValue, decodeCall, isCallOf, parseSignature } from "../../../../enclave/signing/evm/abi.ts";

const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
const TRANSFER = "transfer(address,uint256)";
const transferData = hexToBytes(
  encodeFunctionData({ abi: parseAbi(["function transfer(address,uint256)"]), args: [RECIPIENT, 25_000_000n] }),
);

type Drawn = readonly [type: string, value: fc.Arbitrary<unknown>];

const bytesOf = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes): Hex => toHex(bytes));
const atomic: fc.Arbitrary<Drawn> = fc.oneof(
  fc.integer({ min: 1, max: 32 }).map((size): Drawn => [`uint${size * 8}`, fc.bigInt(0n, 2n ** BigInt(size * 8) - 1n)]),
  fc.integer({ min: 1, max: 32 }).map((size): Drawn => {
    const half = 2n ** BigInt(size * 8 - 1);
    return [`int${size * 8}`, fc.bigInt(-half, half - 1n)];
  }),
  fc.integer({ min: 1, max: 32 }).map((size): Drawn => [`bytes${size}`, bytesOf(size, size)]),
  fc.constant<Drawn>(["address", bytesOf(20, 20)]),
  fc.constant<Drawn>(["bool", fc.boolean()]),
  fc.constant<Drawn>(["bytes", bytesOf(0, 70)]),
  fc.constant<Drawn>(["string", fc.string({ unit: "grapheme", maxLength: 40 })]),
);
const types: fc.Arbitrary<Drawn> = fc.letrec<{ type: Drawn }>((tie) => ({
  type: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    atomic,
    tie("type").map(([type, value]): Drawn => [`${type}[]`, fc.array(value, { maxLength: 3 })]),
    fc
      .tuple(tie("type"), fc.integer({ min: 1, max: 3 }))
      .map(([[type, value], n]): Drawn => [`${type}[${n}]`, fc.array(value, { minLength: n, maxLength: n })]),
    fc
      .array(tie("type"), { minLength: 1, maxLength: 3 })
      .map((items): Drawn => [`(${items.map(([type]) => type).join(",")})`, fc.tuple(...items.map(([, v]) => v))]),
  ),
})).type;
/** A signature and arguments for it. */
const calls = fc
  .array(types, { minLength: 1, maxLength: 4 })
  .chain((items) =>
    fc.tuple(fc.constant(`f(${items.map(([type]) => type).join(",")})`), fc.tuple(...items.map(([, v]) => v))),
  );

/** viem's writing of what was decoded, or of what was drawn. */
function encode(signature: string, args: readonly unknown[]): Uint8Array {
  // abitype's parser is told of no types that it would have to look up.
  const item = parseAbiItem(`function ${signature}` as string) as { readonly inputs: readonly { type: string }[] };
  const selector = parseSignature(signature)?.selector ?? new Uint8Array(4);
  return Uint8Array.of(...selector, ...hexToBytes(encodeAbiParameters(item.inputs, args.map(forViem) as never)));
}

function forViem(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value);
  return Array.isArray(value) ? value.map(forViem) : value;
}

describe("what viem encodes", () => {
  test("is decoded, and encodes to the same bytes again", () => {
    fc.assert(
      fc.property(calls, ([signature, args]) => {
        const data = encode(signature, args);
        const decoded = decodeCall(signature, data);
        expect(decoded).not.toBeNull();
        expect(encode(signature, decoded ?? [])).toEqual(data);
        expect(lowered(decoded ?? [])).toEqual(lowered(args));
      }),
      { numRuns: 500 },
    );
  });

  test("with one byte changed, cut or added is the one encoding of other arguments, or none", () => {
    const outcomes = { decoded: 0, refused: 0 };
    const changed = fc.tuple(
      calls,
      fc.nat(),
      fc.constantFrom("change", "cut", "add"),
      fc.integer({ min: 1, max: 255 }),
    );
    fc.assert(
      fc.property(changed, ([[signature, args], place, how, byte]) => {
        const data = Uint8Array.from(encode(signature, args));
        const at = 4 + (place % (data.length - 4));
        const other =
          how === "cut" ? data.subarray(0, at) : how === "add" ? Uint8Array.of(...data, byte) : data.slice();
        if (how === "change") other[at] = (other[at] ?? 0) ^ byte;
        const decoded = decodeCall(signature, other);
        outcomes[decoded === null ? "refused" : "decoded"] += 1;
        if (decoded !== null) expect(encode(signature, decoded)).toEqual(other);
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(outcomes.decoded, outcomes.refused)).toBeGreaterThan(20);
  });
});

test("values are exact, addresses in EIP-55's form", () => {
  expect(decodeCall(TRANSFER, transferData)).toEqual([RECIPIENT, 25_000_000n]);
  const max = 2n ** 256n - 1n;
  expect(
    decodeCall("f(uint256,int8,bool,bytes4)", encode("f(uint256,int8,bool,bytes4)", [max, -128, true, "0x01020304"])),
  ).toEqual([max, -128n, true, Uint8Array.of(1, 2, 3, 4)]);
  expect(decodeCall("f()", parseSignature("f()")?.selector ?? new Uint8Array())).toEqual([]);
});

describe("another reading", () => {
  const word = (value: bigint) => value.toString(16).padStart(64, "0");
  const call = (signature: string, ...words: bigint[]) =>
    hexToBytes(`${toHex(parseSignature(signature)?.selector ?? new Uint8Array())}${words.map(word).join("")}`);

  test.each<[string, string, readonly bigint[]]>([
    ["an address with a byte before it", "f(address)", [1n << 160n]],
    ["an address of all ones", "f(address)", [2n ** 256n - 1n]],
    ["a bool that is 2", "f(bool)", [2n]],
    ["a bool with a byte far before it", "f(bool)", [(1n << 255n) + 1n]],
    ["a uint8 of 256", "f(uint8)", [256n]],
    ["an int8 of 128", "f(int8)", [128n]],
    ["an int8 of -129", "f(int8)", [2n ** 256n - 129n]],
    ["bytes4 with a fifth", "f(bytes4)", [1n << 216n]],
    ["padding that is not zero", "f(bytes)", [32n, 1n, (0x61n << 248n) + 1n]],
    ["a string that is not UTF-8", "f(string)", [32n, 1n, 0xffn << 248n]],
    ["an offset past a gap", "f(bytes)", [64n, 0n, 0n]],
    ["an offset into the head", "f(bytes)", [0n]],
    ["an offset that wraps around", "f(bytes)", [2n ** 256n - 32n, 0n]],
    ["two tails at one place", "f(bytes,bytes)", [64n, 64n, 0n]],
    ["tails in the other order", "f(bytes,bytes)", [96n, 64n, 0n, 0n]],
    ["a length over what follows", "f(bytes)", [32n, 33n, 0n]],
    ["a length of 2^256 - 1", "f(uint256[])", [32n, 2n ** 256n - 1n]],
    ["a length of 2^53", "f(bytes[])", [32n, 2n ** 53n]],
    ["a word too few", "f(uint256,uint256)", [1n]],
    ["a word too many", "f(uint256)", [1n, 0n]],
    ["more items than there are words", "f(uint256[100000000])", [1n]],
    ["more items than there are heads", "f(bytes[100000000])", [32n, 32n]],
  ])("of %s is none", (_what, signature, words) => {
    expect(decodeCall(signature, call(signature, ...words))).toBeNull();
  });

  test("a call that begins like one is known as such, decoded or not", () => {
    const signature = parseSignature(TRANSFER);
    if (signature === null) throw new Error("a signature");
    const longer = Uint8Array.of(...transferData, 0);
    expect([decodeCall(TRANSFER, longer), isCallOf(signature, longer)]).toEqual([null, true]);
    expect(isCallOf(signature, transferData.subarray(0, 4))).toBe(true);
    expect(isCallOf(signature, transferData.subarray(0, 3))).toBe(false);
    expect(decodeCall("approve(address,uint256)", transferData)).toBeNull();
    expect(decodeCall(TRANSFER, new Uint8Array(0))).toBeNull();
  });
});

describe("signatures", () => {
  test.each([
    ...["", "f", "f(", "f)", "f()x", "(uint256)", " f()", "f( uint256)", "f(uint256 )", "f(uint256 a)", "1f()"],
    ...["f(uint)", "f(int)", "f(uint7)", "f(uint0)", "f(uint264)", "f(uint08)", "f(byte)", "f(bytes0)", "f(bytes33)"],
    ...[
      "f(bytes032)",
      "f(fixed128x18)",
      "f(function)",
      "f(Foo)",
      "f(uint256,)",
      "f(,uint256)",
      "f(())",
      "f(uint256[0])",
    ],
    ...[
      "f(uint256[01])",
      "f(uint256[-1])",
      "f(uint256[1e3])",
      "f(uint256[)",
      "f(uint256]",
      "f((uint256)",
      "f(uint256))",
    ],
    ...[
      "f(uint256[1000000000])",
      `f(${"(".repeat(9)}bool${")".repeat(9)})`,
      `f(bool${"[]".repeat(9)})`,
      "f(\u00fcint256)",
    ],
    ...[`f(${"uint256,".repeat(70)}bool)`, "f(uint256)\n", "f()(uint256)"],
  ])("%j is none", (text) => {
    expect(parseSignature(text)).toBeNull();
    expect(decodeCall(text, transferData)).toBeNull();
  });

  test("any text is one or none", () => {
    const pieces = fc.constantFrom("f", "(", ")", "[", "]", ",", "uint256", "bytes", "3", "[2]", "address", " ");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((all) => all.join("")),
        ),
        (text) => {
          const signature = parseSignature(text);
          if (signature !== null)
            expect(parseAbiItem(`function ${text}` as string)).toMatchObject({ type: "function" });
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

test("any arguments are decoded or not, and nothing is thrown", () => {
  const signatures = calls.map(([signature]) => signature);
  /** Words as encodings have them: small numbers, so that offsets and lengths lead somewhere. */
  const words = fc.array(
    fc.oneof(
      fc.nat(12).map((n) => n * 32),
      fc.nat(300),
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(signatures, words, fc.uint8Array({ maxLength: 60 }), (signature, numbers, rest) => {
      const body = numbers.flatMap((n) => [...Buffer.from(n.toString(16).padStart(64, "0"), "hex")]);
      const data = Uint8Array.of(...(parseSignature(signature)?.selector ?? []), ...body, ...rest);
      const decoded = decodeCall(signature, data);
      if (decoded !== null) expect(encode(signature, decoded)).toEqual(data);
    }),
    { numRuns: 1_000 },
  );
});

/** What was drawn and what was decoded, in one spelling. */
function lowered(values: readonly (AbiValue | unknown)[]): unknown[] {
  return values.map((value) => {
    if (value instanceof Uint8Array) return toHex(value);
    if (Array.isArray(value)) return lowered(value);
    if (typeof value === "number") return BigInt(value);
    return typeof value === "string" && /^0x[0-9a-fA-F]{40}$/.test(value) ? value.toLowerCase() : value;
  });
}
