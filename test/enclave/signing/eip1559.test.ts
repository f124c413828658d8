/** EIP-1559 against viem, which shares no code with what is tested: its RLP, its signer and its parser judge ours. */
import fc from "fast-check";
import {
  type Hex,
  hexToBytes,
  keccak256,
  numberToHex,
  parseTransaction,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  type TransactionSerializedEIP1559,
  toHex,
  toRlp,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { type Eip1559Transaction, parseEip1559, signEip1559 } from "../../../enclave/signing/eip1559.ts";
import { signRecoverable } from "../../../enclave/signing/secp256k1.ts";
import { RequestError } from "../../../protocol/index.ts";

const signerOf = (key: Hex) => ({ signDigest: (digest: Uint8Array) => signRecoverable(digest, hexToBytes(key)) });
const ADDRESS = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045";
const STORAGE_KEY: Hex = `0x${"ab".repeat(32)}`;

const hexOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): Hex => toHex(bytes));
/** Small ones, and ones of every length up to 32 bytes. */
const uint256 = fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n), fc.bigInt(0n, 2n ** 256n - 1n));
const accessList = fc.array(fc.record({ address: hexOf(20), storageKeys: fc.array(hexOf(32), { maxLength: 3 }) }), {
  maxLength: 3,
});

/** What viem takes, all fields drawn; a chain id or nonce over 2^53 is not viem's to serialise and has tests below. */
const transactions = fc
  .record({
    chainId: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    nonce: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat()),
    fees: fc.tuple(uint256, uint256),
    gas: fc.bigInt(0n, 2n ** 64n - 1n),
    to: fc.option(hexOf(20)),
    value: uint256,
    data: fc.uint8Array({ maxLength: 300 }).map((bytes): Hex => toHex(bytes)),
    accessList,
  })
  .map(({ fees: [one, other], ...fields }): TransactionSerializableEIP1559 => {
    const [low, high] = one < other ? [one, other] : [other, one];
    return { type: "eip1559", ...fields, maxPriorityFeePerGas: low, maxFeePerGas: high };
  });
const privateKeys = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes): Hex => toHex(bytes.fill(1, 0, 1)));

function integer(value: bigint): Hex {
  return value === 0n ? "0x" : numberToHex(value, { size: Math.ceil(value.toString(16).length / 2) });
}

type Tree = Hex | readonly Tree[];

/** The nine fields, in the order of EIP-1559. */
const FIELDS: readonly Tree[] = [
  integer(1n),
  integer(7n),
  integer(1_000_000_000n),
  integer(30_000_000_000n),
  integer(65_000n),
  ADDRESS,
  integer(10n ** 18n),
  "0xdeadbeef",
  [[ADDRESS, [STORAGE_KEY]]],
];

function encoded(fields: Tree): Uint8Array {
  return hexToBytes(`0x02${toRlp(fields as Hex).slice(2)}`);
}

function withField(index: number, field: Tree): Uint8Array {
  return encoded(FIELDS.with(index, field));
}

/** What was understood, written by viem's RLP. */
function written(transaction: Eip1559Transaction): Uint8Array {
  const { chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gasLimit, to, valueWei, data } = transaction;
  return encoded([
    ...[chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gasLimit].map(integer),
    to === null ? "0x" : toHex(to),
    integer(valueWei),
    toHex(data),
    transaction.accessList.map((entry) => [toHex(entry.address), entry.storageKeys.map((key) => toHex(key))]),
  ]);
}

describe("what viem makes", () => {
  test("is understood field by field, and signed as viem signs it", async () => {
    await fc.assert(
      fc.asyncProperty(transactions, privateKeys, async (transaction, privateKey) => {
        const unsigned = serializeTransaction(transaction);
        const parsed = parseEip1559(hexToBytes(unsigned));
        expect(parsed).toEqual({
          chainId: BigInt(transaction.chainId),
          nonce: BigInt(transaction.nonce ?? 0),
          maxPriorityFeePerGas: transaction.maxPriorityFeePerGas,
          maxFeePerGas: transaction.maxFeePerGas,
          gasLimit: transaction.gas,
          to: transaction.to ? hexToBytes(transaction.to) : null,
          valueWei: transaction.value,
          data: hexToBytes(transaction.data ?? "0x"),
          accessList: (transaction.accessList ?? []).map(({ address, storageKeys }) => ({
            address: hexToBytes(address),
            storageKeys: storageKeys.map((key) => hexToBytes(key)),
          })),
        });

        const account = privateKeyToAccount(privateKey);
        const signed = signEip1559(parsed, signerOf(privateKey));
        const serializedTransaction = toHex(signed.bytes) as TransactionSerializedEIP1559;
        // Both follow RFC 6979 and take the low s, so there is one right signature.
        expect(serializedTransaction).toBe(await account.signTransaction(transaction));
        expect(await recoverTransactionAddress({ serializedTransaction })).toBe(account.address);
        expect(toHex(signed.hash)).toBe(keccak256(serializedTransaction));
        const { r: _r, s: _s, v: _v, yParity: _yParity, ...fields } = parseTransaction(serializedTransaction);
        expect(fields).toEqual(parseTransaction(unsigned));
      }),
      { numRuns: 150 },
    );
  });

  test("r and s with leading zero bytes are written without them", async () => {
    const key: Hex = `0x${"46".repeat(32)}`;
    const account = privateKeyToAccount(key);
    let short = 0;
    for (let nonce = 0; nonce < 1_000 && short < 2; nonce += 1) {
      const transaction = { type: "eip1559", chainId: 1, nonce } as const;
      const signed = toHex(
        signEip1559(parseEip1559(hexToBytes(serializeTransaction(transaction))), signerOf(key)).bytes,
      );
      const { r = "0x", s = "0x" } = parseTransaction(signed as TransactionSerializedEIP1559);
      if (BigInt(r) >> 248n !== 0n && BigInt(s) >> 248n !== 0n) continue;
      short += 1;
      expect(signed).toBe(await account.signTransaction(transaction));
    }
    expect(short).toBe(2);
  });
});

describe("the limits of each field", () => {
  test.each<[string, number, bigint]>([
    ["chain id 1", 0, 1n],
    ["chain id 2^64 - 1", 0, 2n ** 64n - 1n],
    ["nonce 0", 1, 0n],
    ["nonce 2^64 - 2", 1, 2n ** 64n - 2n],
    ["priority fee 0", 2, 0n],
    ["priority fee equal to the max fee", 2, 30_000_000_000n],
    ["max fee 2^256 - 1", 3, 2n ** 256n - 1n],
    ["gas limit 2^64 - 1", 4, 2n ** 64n - 1n],
    ["value 2^256 - 1", 6, 2n ** 256n - 1n],
  ])("accepts %s", (_what, index, value) => {
    const bytes = withField(index, integer(value));
    expect(written(parseEip1559(bytes))).toEqual(bytes);
  });

  test.each<[string, number, Tree, RegExp]>([
    ["chain id 0", 0, "0x", /chain id 0/],
    ["chain id 2^64", 0, integer(2n ** 64n), /chain id: over/],
    ["nonce 2^64 - 1 (EIP-2681)", 1, integer(2n ** 64n - 1n), /nonce: over/],
    ["a priority fee over the max fee", 2, integer(30_000_000_001n), /priority fee exceeds/],
    ["a gas limit of 2^64", 4, integer(2n ** 64n), /gas limit: over/],
    ["a value of 33 bytes", 6, `0x01${"00".repeat(32)}`, /value: 33 bytes/],
    ["a chain id that is a list", 0, [], /chain id: expected bytes/],
    ["a recipient of 19 bytes", 5, `0x${"11".repeat(19)}`, /to: 19 bytes/],
    ["a recipient of 21 bytes", 5, `0x${"11".repeat(21)}`, /to: 21 bytes/],
    ["a recipient that is a list", 5, [ADDRESS], /to: expected bytes/],
    ["data that is a list", 7, [], /data: expected bytes/],
    ["an access list that is bytes", 8, "0x", /access list: expected a list/],
    ["an access list entry that is bytes", 8, [ADDRESS], /access list: expected pairs/],
    ["an access list entry of one part", 8, [[ADDRESS]], /access list: expected pairs/],
    ["an access list entry of three parts", 8, [[ADDRESS, [], []]], /access list: expected pairs/],
    ["an access list address of 19 bytes", 8, [[`0x${"11".repeat(19)}`, []]], /access list: expected an address/],
    ["an access list address that is a list", 8, [[[], []]], /access list: expected an address/],
    ["storage keys that are bytes", 8, [[ADDRESS, STORAGE_KEY]], /access list: expected a list of storage keys/],
    ["a storage key of 31 bytes", 8, [[ADDRESS, [`0x${"ab".repeat(31)}`]]], /access list: expected keys of 32 bytes/],
    ["a storage key of 33 bytes", 8, [[ADDRESS, [`0x${"ab".repeat(33)}`]]], /access list: expected keys of 32 bytes/],
    ["a storage key that is a list", 8, [[ADDRESS, [[]]]], /deeper than 4/],
  ])("refuses %s", (_what, index, field, why) => {
    expectMalformed(withField(index, field), why);
  });

  test.each([0, 1, 2, 3, 4, 6])("refuses a leading zero in field %d", (index) => {
    expectMalformed(withField(index, "0x00"), /leading zero/);
    expectMalformed(withField(index, "0x0001"), /leading zero/);
  });
});

describe("the whole", () => {
  const good = encoded(FIELDS);

  test("is accepted as it stands", () => {
    expect(written(parseEip1559(good))).toEqual(good);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["a byte after the list", Uint8Array.of(...good, 0), /not one RLP item/],
    ["a second list after the first", Uint8Array.of(...good, ...good.subarray(1)), /not one RLP item/],
    ["a cut list", good.subarray(0, -1), /not one RLP item/],
    ["the type alone", Uint8Array.of(2), /not a list/],
    ["a string in place of the list", encoded("0x010203"), /not a list/],
    ["an empty list", encoded([]), /0 fields/],
    ["8 fields", encoded(FIELDS.slice(0, 8)), /8 fields/],
    ["10 fields", encoded([...FIELDS, "0x"]), /10 fields/],
    ["a signed transaction", encoded([...FIELDS, "0x01", STORAGE_KEY, STORAGE_KEY]), /signed already/],
    ["fields in a list of their own", encoded([FIELDS.slice(0, 8)]), /1 fields/],
  ])("refuses %s", (_what, bytes, why) => {
    expectMalformed(bytes, why);
  });

  /** The list's head, rewritten: 0xf8 and one byte of length are what is canonical here. */
  const body = good.subarray(3);
  test.each<[string, Uint8Array]>([
    ["a list length of two bytes where one suffices", Uint8Array.of(2, 0xf9, 0, body.length, ...body)],
    ["a list length of eight bytes", Uint8Array.of(2, 0xff, 0, 0, 0, 0, 0, 0, 0, body.length, ...body)],
    ["a list length far over what follows", Uint8Array.of(2, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, ...body)],
    ["a small byte with a length before it", spliced(good, 3, 1, [0x81, 0x01])],
    ["four bytes under a long length", spliced(good, good.indexOf(0x84), 1, [0xb8, 0x04])],
    ["a string length with a leading zero", spliced(good, good.indexOf(0x84), 1, [0xb9, 0x00, 0x04])],
  ])("refuses %s", (_what, bytes) => {
    expect(good.subarray(1, 3)).toEqual(Uint8Array.of(0xf8, body.length));
    expectMalformed(bytes, /not one RLP item|not the canonical/);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["a legacy transaction", hexToBytes(serializeTransaction({ type: "legacy", to: ADDRESS, gasPrice: 1n })), /legacy/],
    [
      "EIP-2930, type 1",
      hexToBytes(serializeTransaction({ type: "eip2930", chainId: 1, to: ADDRESS, gasPrice: 1n })),
      /type 1/,
    ],
    ["EIP-4844, type 3", Uint8Array.of(3, ...good.subarray(1)), /type 3/],
    [
      "EIP-7702, type 4",
      hexToBytes(serializeTransaction({ type: "eip7702", chainId: 1, to: ADDRESS, authorizationList: [] })),
      /type 4/,
    ],
    ["type 0", Uint8Array.of(0, ...good.subarray(1)), /type 0/],
    ["an EIP-191 message", new TextEncoder().encode("\x19Ethereum Signed Message:\n0"), /type 25/],
  ])("refuses %s by its type", (_what, bytes, why) => {
    expect(() => parseEip1559(bytes)).toThrow(
      expect.objectContaining({ code: "TRANSACTION_TYPE_UNSUPPORTED", message: expect.stringMatching(why) }),
    );
  });

  test("refuses no bytes at all", () => {
    expectMalformed(new Uint8Array(0), /no bytes/);
  });
});

describe("bombs are refused before they cost anything", () => {
  const LIMIT = 128 * 1024;

  test("lists in lists, as deep as the operation's limit allows", () => {
    expectMalformed(nested(LIMIT), /deeper than 4/);
  });

  test("such a nest in place of the access list, and of data", () => {
    // The nest's own bytes go into the ninth field: [f1..f8, nest].
    const first = hexToBytes(toRlp(FIELDS.slice(0, 8) as Hex[])).subarray(2);
    const inner = nested(LIMIT - 1_000).subarray(1);
    expectMalformed(
      Buffer.concat([Uint8Array.of(2, ...listHead(first.length + inner.length)), first, inner]),
      /deeper than 4/,
    );
  });

  test("and lists after lists are not lists in lists", () => {
    const accessList = Array.from({ length: 60 }, (): Tree => [ADDRESS, Array.from({ length: 3 }, () => STORAGE_KEY)]);
    const bytes = withField(8, accessList);
    expect(written(parseEip1559(bytes))).toEqual(bytes);
    expectMalformed(withField(8, [[ADDRESS, [[STORAGE_KEY]]]]), /deeper than 4/);
  });

  test("a hundred thousand empty lists", () => {
    expectMalformed(
      Buffer.concat([Uint8Array.of(2, ...listHead(100_000)), Buffer.alloc(100_000, 0xc0)]),
      /100000 fields/,
    );
  });

  function nested(maxBytes: number): Uint8Array {
    const heads: number[][] = [];
    let length = 0;
    for (;;) {
      const head = listHead(length);
      if (1 + length + head.length > maxBytes) break;
      heads.push(head);
      length += head.length;
    }
    return Uint8Array.from([2, ...heads.reverse().flat()]);
  }
});

function listHead(length: number): number[] {
  if (length < 56) return [0xc0 + length];
  const digits = [...Buffer.from(length.toString(16).padStart(6, "0"), "hex")];
  while (digits[0] === 0) digits.shift();
  return [0xf7 + digits.length, ...digits];
}

describe("any bytes", () => {
  const trees: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      fc.uint8Array({ maxLength: 40 }).map((bytes): Tree => toHex(bytes)),
      fc.array(tie("tree"), { maxLength: 12 }),
    ),
  })).tree;
  const inputs = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Uint8Array.of(2, ...bytes)),
    trees.map(encoded),
    fc.tuple(fc.nat(8), trees).map(([index, tree]) => withField(index, tree)),
    fc
      .tuple(transactions, fc.nat(), fc.integer({ min: 0, max: 2 }), fc.uint8Array({ maxLength: 3 }))
      .map(([transaction, at, remove, insert]) => {
        const bytes = hexToBytes(serializeTransaction(transaction));
        return spliced(bytes, at % bytes.length, remove, [...insert]);
      }),
  );

  test("either are the one encoding of what was understood, or are refused by code", () => {
    const outcomes = { parsed: 0, refused: 0 };
    fc.assert(
      fc.property(inputs, (bytes) => {
        let transaction: Eip1559Transaction;
        try {
          transaction = parseEip1559(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
          expect(["TRANSACTION_MALFORMED", "TRANSACTION_TYPE_UNSUPPORTED"]).toContain((error as RequestError).code);
          outcomes.refused += 1;
          return;
        }
        expect(written(transaction)).toEqual(Uint8Array.from(bytes));
        outcomes.parsed += 1;
      }),
      { numRuns: 2_000 },
    );
    // Both sides were tried.
    expect(Math.min(outcomes.parsed, outcomes.refused)).toBeGreaterThan(20);
  });
});

function spliced(bytes: Uint8Array, at: number, remove: number, insert: readonly number[]): Uint8Array {
  return Uint8Array.of(...bytes.subarray(0, at), ...insert, ...bytes.subarray(at + remove));
}

function expectMalformed(bytes: Uint8Array, why: RegExp = /./): void {
  let refusal: unknown;
  try {
    parseEip1559(bytes);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(RequestError);
  expect(refusal).toMatchObject({ code: "TRANSACTION_MALFORMED", message: expect.stringMatching(why) });
}
