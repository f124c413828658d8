/** Transactions of every type against viem, which shares no code with what is tested: its RLP, signer and parser judge ours. */
import fc from "fast-check";
import {
  type Hex,
  hexToBytes,
  keccak256,
  numberToHex,
  parseTransaction as parseByViem,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializable,
  type TransactionSerialized,
  toHex,
  toRlp,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { type EvmTransaction, parseTransaction, signTransaction } from "../../../../enclave/signing/evm/transaction.ts";
import { transactionFacts } from "../../../../enclave/signing/evm/transaction-facts.ts";
import { signRecoverable } from "../../../../enclave/signing/secp256k1.ts";
import { RequestError } from "../../../../protocol/index.ts";

const signerOf = (key: Hex) => ({ signDigest: (digest: Uint8Array) => signRecoverable(digest, hexToBytes(key)) });
const KEY: Hex = `0x${"46".repeat(32)}`;
const SIGNER = privateKeyToAccount(KEY);
const ADDRESS = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045";
const STORAGE_KEY: Hex = `0x${"ab".repeat(32)}`;

const hexOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): Hex => toHex(bytes));
/** Small ones, and ones of every length up to 32 bytes. */
const uint256 = fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n), fc.bigInt(0n, 2n ** 256n - 1n));
const accessList = fc.array(fc.record({ address: hexOf(20), storageKeys: fc.array(hexOf(32), { maxLength: 3 }) }), {
  maxLength: 3,
});

/** What every type has; a chain id or nonce over 2^53 is not viem's to serialise and has tests below. */
const shared = {
  chainId: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
  nonce: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat()),
  gas: fc.bigInt(1n, 2n ** 64n - 1n),
  value: uint256,
  data: fc.uint8Array({ maxLength: 300 }).map((bytes): Hex => toHex(bytes)),
};
const to = hexOf(20);
const positive = uint256.map((value) => value || 1n);
const fees = fc.tuple(uint256, positive).map(([one, other]) => {
  const [low, high] = one < other ? [one, other] : [other, one];
  return { maxPriorityFeePerGas: low, maxFeePerGas: high || 1n };
});
const blobHash = hexOf(31).map((hex): Hex => `0x01${hex.slice(2)}`);
const authorization = fc
  .record({ chainId: fc.nat(300), address: hexOf(20), nonce: fc.nat(1_000) })
  .map((fields) => ({ ...fields, sign: () => SIGNER.signAuthorization(fields) }));

/** By type. What viem takes, all fields drawn. */
const legacy = fc.record({ ...shared, to: fc.option(to), gasPrice: positive }).map((fields) => ({
  ...fields,
  type: "legacy" as const,
}));
const eip2930 = fc.record({ ...shared, to: fc.option(to), gasPrice: positive, accessList }).map((fields) => ({
  ...fields,
  type: "eip2930" as const,
}));
const eip1559 = fc
  .record({ ...shared, to: fc.option(to), fees, accessList })
  .map(({ fees, ...fields }) => ({ ...fields, ...fees, type: "eip1559" as const }));
const eip4844 = fc
  .record({
    ...{ ...shared, to, fees, accessList, maxFeePerBlobGas: positive },
    blobVersionedHashes: fc.array(blobHash, { minLength: 1, maxLength: 4 }),
  })
  .map(({ fees, ...fields }) => ({ ...fields, ...fees, type: "eip4844" as const }));
const eip7702 = fc
  .record({ ...shared, to, fees, accessList, authorizations: fc.array(authorization, { minLength: 1, maxLength: 3 }) })
  .map(({ fees, ...fields }) => ({ ...fields, ...fees, type: "eip7702" as const }));

type Drawn = TransactionSerializable & { readonly type: "legacy" | "eip2930" | "eip1559" | "eip4844" | "eip7702" };

const transactions: readonly (readonly [string, number, fc.Arbitrary<unknown>])[] = [
  ["legacy", 0, legacy],
  ["EIP-2930", 1, eip2930],
  ["EIP-1559", 2, eip1559],
  ["EIP-4844", 3, eip4844],
  ["EIP-7702", 4, eip7702],
];
const privateKeys = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes): Hex => toHex(bytes.fill(1, 0, 1)));

/** Authorizations are signed by viem, which gives promises. */
async function prepared(drawn: unknown): Promise<Drawn> {
  const { authorizations, ...fields } = drawn as { readonly authorizations?: { sign(): Promise<unknown> }[] };
  if (authorizations === undefined) return fields as Drawn;
  return {
    ...fields,
    authorizationList: await Promise.all(authorizations.map((each) => each.sign())),
  } as unknown as Drawn;
}

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

/** What was understood of one of type 2, written by viem's RLP. */
function written(transaction: EvmTransaction): Uint8Array {
  const { chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gasLimit, to, valueWei, data } = transaction;
  return encoded([
    ...[chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gasLimit].map(integer),
    to === null ? "0x" : toHex(to),
    integer(valueWei),
    toHex(data),
    transaction.accessList.map((entry) => [toHex(entry.address), entry.storageKeys.map((key) => toHex(key))]),
  ]);
}

/** What viem was given, and what was understood, in one form. */
function fieldsOf(transaction: Drawn, type: number) {
  const { maxPriorityFeePerGas, maxFeePerGas, gasPrice } = transaction;
  return {
    type,
    chainId: BigInt(transaction.chainId ?? -1),
    nonce: BigInt(transaction.nonce ?? -1),
    maxPriorityFeePerGas: gasPrice ?? maxPriorityFeePerGas,
    maxFeePerGas: gasPrice ?? maxFeePerGas,
    gasLimit: transaction.gas,
    to: transaction.to ? hexToBytes(transaction.to) : null,
    valueWei: transaction.value,
    data: hexToBytes(transaction.data ?? "0x"),
    accessList: ("accessList" in transaction ? (transaction.accessList ?? []) : []).map((entry) => ({
      address: hexToBytes(entry.address),
      storageKeys: entry.storageKeys.map((key) => hexToBytes(key)),
    })),
    maxFeePerBlobGas: ("maxFeePerBlobGas" in transaction ? transaction.maxFeePerBlobGas : undefined) ?? 0n,
    blobVersionedHashes: (
      ("blobVersionedHashes" in transaction ? transaction.blobVersionedHashes : undefined) ?? []
    ).map((hash) => hexToBytes(hash)),
  };
}

describe("what viem makes", () => {
  test.each(transactions)(
    "of type %s is understood field by field, and signed as viem signs it",
    async (_name, type, drawn) => {
      await fc.assert(
        fc.asyncProperty(drawn, privateKeys, async (fields, privateKey) => {
          const transaction = await prepared(fields);
          const unsigned = serializeTransaction(transaction);
          const parsed = parseTransaction(hexToBytes(unsigned));
          const { authorizations, ...understood } = parsed;
          expect(understood).toEqual(fieldsOf(transaction, type));
          const given = ("authorizationList" in transaction ? transaction.authorizationList : undefined) ?? [];
          expect(transactionFacts(ADDRESS, parsed).authorizations).toEqual(
            given.map(({ chainId, nonce }, at) => ({
              chainId: BigInt(chainId),
              nonce: BigInt(nonce),
              delegate: expect.stringMatching(new RegExp(`^${given[at]?.address}$`, "i")),
              authority: SIGNER.address,
            })),
          );
          expect(authorizations).toHaveLength(given.length);

          const account = privateKeyToAccount(privateKey);
          const signed = signTransaction(parsed, signerOf(privateKey));
          const serializedTransaction = toHex(signed.bytes) as TransactionSerialized;
          // Both follow RFC 6979 and take the low s, so there is one right signature.
          expect(serializedTransaction).toBe(await account.signTransaction(transaction));
          expect(await recoverTransactionAddress({ serializedTransaction })).toBe(account.address);
          expect(toHex(signed.hash)).toBe(keccak256(serializedTransaction));
          const { r: _r, s: _s, v: _v, yParity: _yParity, ...read } = parseByViem(serializedTransaction);
          expect(read).toEqual(parseByViem(unsigned));
        }),
        { numRuns: 60 },
      );
    },
  );

  test("r and s with leading zero bytes are written without them", async () => {
    let short = 0;
    for (let nonce = 0; nonce < 1_000 && short < 2; nonce += 1) {
      const transaction = { type: "eip1559", chainId: 1, nonce, gas: 21_000n, maxFeePerGas: 1n } as const;
      const signed = toHex(
        signTransaction(parseTransaction(hexToBytes(serializeTransaction(transaction))), signerOf(KEY)).bytes,
      );
      const { r = "0x", s = "0x" } = parseByViem(signed as TransactionSerialized);
      if (BigInt(r) >> 248n !== 0n && BigInt(s) >> 248n !== 0n) continue;
      short += 1;
      expect(signed).toBe(await SIGNER.signTransaction(transaction));
    }
    expect(short).toBe(2);
  });
});

test("EIP-155's own example", () => {
  const unsigned = hexToBytes(
    "0xec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080",
  );
  expect(keccak256(unsigned)).toBe("0xdaf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53");
  const transaction = parseTransaction(unsigned);
  expect(transaction).toMatchObject({
    type: 0,
    chainId: 1n,
    nonce: 9n,
    maxFeePerGas: 20n * 10n ** 9n,
    gasLimit: 21_000n,
  });
  expect(toHex(signTransaction(transaction, signerOf(KEY)).bytes)).toBe(
    "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025" +
      "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276" +
      "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
  );
});

describe("fields that a type alone has", () => {
  const fees: readonly Tree[] = [integer(1n), integer(7n), integer(1n), integer(30n), integer(65_000n)];
  const rest: readonly Tree[] = [ADDRESS, integer(5n), "0x", []];
  const r = `0x${"11".repeat(32)}` as const;
  const blobHash: Hex = `0x01${"ab".repeat(31)}`;
  const blobs = (changes: Readonly<Record<number, Tree>> = {}) =>
    typed(
      3,
      [...fees, ...rest, integer(9n), [blobHash]].map((field, at) => changes[at] ?? field),
    );
  const authorized = (...authorizations: readonly Tree[]) => typed(4, [...fees, ...rest, authorizations]);
  const authorization: readonly Tree[] = [integer(1n), ADDRESS, integer(3n), "0x", r, r];
  const legacy = (...end: readonly Tree[]) =>
    hexToBytes(toRlp([integer(7n), integer(30n), integer(65_000n), ADDRESS, integer(5n), "0x", ...end] as Hex[]));

  test("are accepted as they stand", () => {
    expect(parseTransaction(blobs())).toMatchObject({
      type: 3,
      maxFeePerBlobGas: 9n,
      blobVersionedHashes: [hexToBytes(blobHash)],
    });
    expect(parseTransaction(authorized(authorization))).toMatchObject({ type: 4, authorizations: [{ nonce: 3n }] });
    expect(parseTransaction(legacy(integer(1n), "0x", "0x"))).toMatchObject({ type: 0, chainId: 1n });
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["a legacy transaction without a chain id", legacy(), /without a chain id/],
    ["one with chain id 0", legacy("0x", "0x", "0x"), /chain id 0/],
    ["one that is signed", legacy(integer(37n), r, r), /signed already/],
    ["one that is signed, from before EIP-155", legacy(integer(27n), r, r), /signed already/],
    ["one with lists in the signature's places", legacy(integer(1n), [], []), /not the canonical/],
    ["one of seven fields", legacy(integer(1n)), /7 fields/],
    ["a blob transaction that creates a contract", blobs({ 5: "0x" }), /without a recipient/],
    ["one without blobs", blobs({ 10: [] }), /without blobs/],
    ["one with a blob fee of 0", blobs({ 9: "0x" }), /blob fee 0/],
    ["one with a hash of another version", blobs({ 10: [`0x02${"ab".repeat(31)}`] }), /unknown version/],
    ["one with a hash of 31 bytes", blobs({ 10: [`0x01${"ab".repeat(30)}`] }), /blob hash: 31 bytes/],
    ["one with bytes in place of hashes", blobs({ 10: blobHash }), /blob hashes: expected a list/],
    ["one with its blobs", typed(3, [[...fees, ...rest], ["0x00"], ["0x00"], ["0x00"]]), /with its blobs/],
    [
      "one with its blobs and a version",
      typed(3, [[...fees, ...rest], "0x01", ["0x00"], ["0x00"], ["0x00"]]),
      /with its blobs/,
    ],
    ["one that is signed", typed(3, [...fees, ...rest, integer(9n), [blobHash], "0x", r, r]), /signed already/],
    ["no authorizations", authorized(), /without authorizations/],
    [
      "authorizations and no recipient",
      typed(4, [...fees, "0x", ...rest.slice(1), [authorization]]),
      /without a recipient/,
    ],
    ["over 256 authorizations", authorized(...Array.from({ length: 257 }, () => authorization)), /over 256/],
    ["an authorization that is not signed", authorized(authorization.slice(0, 3)), /not signed/],
    ["one of five fields", authorized(authorization.slice(0, 5)), /5 fields/],
    ["one of seven", authorized([...authorization, "0x"]), /7 fields/],
    ["one that is bytes", authorized("0x1234"), /authorization: expected a list/],
    ["one to an address of 19 bytes", authorized(authorization.with(1, `0x${"11".repeat(19)}`)), /19 bytes/],
    ["one to nobody", authorized(authorization.with(1, "0x")), /0 bytes/],
    ["one with a nonce of 2^64 - 1", authorized(authorization.with(2, integer(2n ** 64n - 1n))), /nonce: over/],
    ["one with a chain id of 2^64", authorized(authorization.with(0, integer(2n ** 64n))), /chain id: over/],
    ["one with a y parity of 2", authorized(authorization.with(3, "0x02")), /y parity: over/],
    ["one with a y parity of 27", authorized(authorization.with(3, "0x1b")), /y parity: over/],
    ["one with a high s", authorized(authorization.with(5, `0x${"ff".repeat(32)}`)), /authorization's s: over/],
    ["one with an r of 33 bytes", authorized(authorization.with(4, `0x11${"11".repeat(32)}`)), /r: 33 bytes/],
  ])("refuses %s", (_what, bytes, why) => {
    expectMalformed(bytes, why);
  });

  test("an authorization that nobody signed names nobody", () => {
    const nobodys = authorization.with(4, integer(5n)).with(5, integer(1n));
    expect(transactionFacts(ADDRESS, parseTransaction(authorized(nobodys))).authorizations).toMatchObject([
      { authority: null, chainId: 1n, nonce: 3n },
    ]);
  });
});

describe("what policies are told", () => {
  test("the fee is the most that it can be, blobs included", () => {
    const parsed = parseTransaction(
      hexToBytes(
        serializeTransaction({
          ...{
            type: "eip4844",
            chainId: 1,
            nonce: 0,
            to: ADDRESS,
            gas: 21_000n,
            maxFeePerGas: 30n,
            maxPriorityFeePerGas: 2n,
          },
          ...{ maxFeePerBlobGas: 7n, blobVersionedHashes: [`0x01${"00".repeat(31)}`, `0x01${"11".repeat(31)}`] },
        }),
      ),
    );
    expect(transactionFacts(ADDRESS, parsed)).toMatchObject({
      ...{
        kind: "evm-transaction",
        type: 3,
        chainId: 1n,
        nonce: 0n,
        blobs: 2,
        gasLimit: 21_000n,
        maxFeePerGasWei: 30n,
      },
      maxFeeWei: 21_000n * 30n + 2n * 131_072n * 7n,
      to: "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
    });
  });
});

function typed(type: number, fields: Tree): Uint8Array {
  return hexToBytes(`0x0${type}${toRlp(fields as Hex).slice(2)}`);
}

describe("the limits of each field, of type 2", () => {
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
    expect(written(parseTransaction(bytes))).toEqual(bytes);
  });

  test.each<[string, number, Tree, RegExp]>([
    ["chain id 0", 0, "0x", /chain id 0/],
    ["a max fee of 0, as one that was forgotten is written", 3, "0x", /max fee 0/],
    ["a gas limit of 0", 4, "0x", /gas limit 0/],
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
    ["an access list address of 19 bytes", 8, [[`0x${"11".repeat(19)}`, []]], /access list's address: /],
    ["an access list address that is a list", 8, [[[], []]], /access list's address: /],
    ["storage keys that are bytes", 8, [[ADDRESS, STORAGE_KEY]], /access list's storage keys: expected a list/],
    ["a storage key of 31 bytes", 8, [[ADDRESS, [`0x${"ab".repeat(31)}`]]], /storage key: /],
    ["a storage key of 33 bytes", 8, [[ADDRESS, [`0x${"ab".repeat(33)}`]]], /storage key: /],
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
    expect(written(parseTransaction(good))).toEqual(good);
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
    ["type 0", Uint8Array.of(0, ...good.subarray(1)), /type 0/],
    ["type 5, EIP-7702's magic", Uint8Array.of(5, ...good.subarray(1)), /type 5/],
    ["type 127", Uint8Array.of(127, ...good.subarray(1)), /type 127/],
    ["type 191", Uint8Array.of(191, ...good.subarray(1)), /type 191/],
    ["an EIP-191 message", new TextEncoder().encode("\x19Ethereum Signed Message:\n0"), /type 25/],
  ])("refuses %s by its type", (_what, bytes, why) => {
    expect(() => parseTransaction(bytes)).toThrow(
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
    expect(written(parseTransaction(bytes))).toEqual(bytes);
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
      .tuple(
        fc.oneof(legacy, eip2930, eip1559, eip4844),
        fc.nat(),
        fc.integer({ min: 0, max: 2 }),
        fc.uint8Array({ maxLength: 3 }),
      )
      .map(([transaction, at, remove, insert]) => {
        const bytes = hexToBytes(serializeTransaction(transaction as Drawn));
        return spliced(bytes, at % bytes.length, remove, [...insert]);
      }),
  );

  test("either are the one encoding of what was understood, or are refused by code", () => {
    const outcomes = { parsed: 0, refused: 0 };
    fc.assert(
      fc.property(inputs, (bytes) => {
        let transaction: EvmTransaction;
        try {
          transaction = parseTransaction(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
          expect(["TRANSACTION_MALFORMED", "TRANSACTION_TYPE_UNSUPPORTED"]).toContain((error as RequestError).code);
          outcomes.refused += 1;
          return;
        }
        if (transaction.type === 2) expect(written(transaction)).toEqual(Uint8Array.from(bytes));
        const signed = toHex(signTransaction(transaction, signerOf(KEY)).bytes) as TransactionSerialized;
        if (isWithinViem(transaction)) expect(serializeTransaction(unsignedOf(signed))).toBe(toHex(bytes));
        outcomes.parsed += 1;
      }),
      { numRuns: 2_000 },
    );
    // Both sides were tried.
    expect(Math.min(outcomes.parsed, outcomes.refused)).toBeGreaterThan(20);
  });
});

/** viem keeps chain ids and nonces as numbers. */
function isWithinViem({ chainId, nonce }: EvmTransaction): boolean {
  return chainId <= BigInt(Number.MAX_SAFE_INTEGER) / 4n && nonce <= BigInt(Number.MAX_SAFE_INTEGER);
}

function unsignedOf(signed: TransactionSerialized): TransactionSerializable {
  const { r: _r, s: _s, v: _v, yParity: _yParity, ...fields } = parseByViem(signed);
  return fields as TransactionSerializable;
}

function spliced(bytes: Uint8Array, at: number, remove: number, insert: readonly number[]): Uint8Array {
  return Uint8Array.of(...bytes.subarray(0, at), ...insert, ...bytes.subarray(at + remove));
}

function expectMalformed(bytes: Uint8Array, why: RegExp = /./): void {
  let refusal: unknown;
  try {
    parseTransaction(bytes);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(RequestError);
  expect(refusal).toMatchObject({ code: "TRANSACTION_MALFORMED", message: expect.stringMatching(why) });
}
