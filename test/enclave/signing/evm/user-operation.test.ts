/** ERC-4337 against viem, which shares no code with what is tested. */
import fc from "fast-check";
import { type Address, encodeFunctionData, erc20Abi, type Hex, hexToBytes, parseAbi, toHex } from "viem";
import {
  entryPoint06Address,
  entryPoint07Address,
  entryPoint08Address,
  getUserOperationHash,
} from "viem/account-abstraction";
import { describe, expect, test } from "vitest";
import {
  hashUserOperation,
  type UserOperationRequest,
  userOperationFacts,
} from "../../../../enclave/signing/evm/user-operation.ts";
import { OPERATIONS } from "../../../../protocol/index.ts";

type UserOperation = UserOperationRequest["userOperation"];
type Version = UserOperation["version"];

const OWNER = "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826";
const TOKEN = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const ENTRY_POINTS: Readonly<Record<Version, Address>> = {
  "0.6": entryPoint06Address,
  "0.7": entryPoint07Address,
  "0.8": entryPoint08Address,
};
const lower = (address: string) => address.toLowerCase();

const hexOf = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes): Hex => toHex(bytes));
const address = hexOf(20, 20);
const gas = fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 120n - 1n)).map(String);
const withData = fc.option(fc.record({ address, data: hexOf(0, 60) }));
const shared = {
  ...{ sender: address, callData: hexOf(0, 100), factory: withData },
  nonce: fc.bigInt(0n, 2n ** 256n - 1n).map(String),
  ...{
    callGasLimit: gas,
    verificationGasLimit: gas,
    preVerificationGas: gas,
    maxFeePerGas: gas,
    maxPriorityFeePerGas: gas,
  },
};
const paymaster = fc.option(fc.record({ address, verificationGasLimit: gas, postOpGasLimit: gas, data: hexOf(0, 60) }));
const delegation = fc.option(fc.record({ delegate: address, data: hexOf(0, 60) }));
const userOperations: Readonly<Record<Version, fc.Arbitrary<UserOperation>>> = {
  "0.6": fc.record({ version: fc.constant("0.6"), ...shared, paymaster: withData }),
  "0.7": fc.record({ version: fc.constant("0.7"), ...shared, paymaster }),
  "0.8": fc
    .record({ version: fc.constant("0.8"), ...shared, paymaster, delegation })
    .map((fields) => (fields.delegation === null ? fields : { ...fields, factory: null })),
};

/** As viem takes it: fields that are not there are undefined. */
function forViem(operation: UserOperation): object {
  const { version, sender, callData, factory, paymaster } = operation;
  const integers = Object.fromEntries(
    (
      [
        "nonce",
        "callGasLimit",
        "verificationGasLimit",
        "preVerificationGas",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
      ] as const
    ).map((name) => [name, BigInt(operation[name])]),
  );
  const joined = (both: { readonly address: string; readonly data: string } | null) =>
    both === null ? "0x" : `${both.address}${both.data.slice(2)}`;
  if (version === "0.6") {
    return {
      sender,
      callData,
      ...integers,
      initCode: joined(factory),
      paymasterAndData: joined(paymaster),
      signature: "0x",
    };
  }
  const delegation = version === "0.8" ? operation.delegation : null;
  return {
    ...{ sender, callData, ...integers, signature: "0x" },
    ...(factory && { factory: factory.address, factoryData: factory.data }),
    ...(delegation && {
      ...{ factory: "0x7702", factoryData: delegation.data },
      authorization: { address: delegation.delegate, chainId: 1, nonce: 0 },
    }),
    ...(paymaster &&
      "postOpGasLimit" in paymaster && {
        ...{ paymaster: paymaster.address, paymasterData: paymaster.data },
        paymasterVerificationGasLimit: BigInt(paymaster.verificationGasLimit),
        paymasterPostOpGasLimit: BigInt(paymaster.postOpGasLimit),
      }),
  };
}

const versions = ["0.6", "0.7", "0.8"] as const;
/** Fields that each version has, with nothing special about them. */
function operation<Name extends Version>(
  version: Name,
  changes: object = {},
): UserOperation & { readonly version: Name } {
  const fields = {
    ...{ version, sender: lower(OWNER), nonce: "1", callData: "0x", factory: null, paymaster: null },
    ...{
      callGasLimit: "100",
      verificationGasLimit: "10",
      preVerificationGas: "1",
      maxFeePerGas: "7",
      maxPriorityFeePerGas: "2",
    },
    ...(version === "0.8" ? { delegation: null } : {}),
  };
  return { ...fields, ...changes } as unknown as UserOperation & { readonly version: Name };
}
const request = (userOperation: UserOperation, entryPoint = lower(ENTRY_POINTS[userOperation.version])) => ({
  ...{ chainId: "137", entryPoint, userOperation },
});

describe.each(versions)("version %s", (version) => {
  test("has viem's hash, for any operation, chain and entry point", () => {
    const entryPoints = fc.oneof(fc.constant<Address>(ENTRY_POINTS[version]), address);
    fc.assert(
      fc.property(userOperations[version], fc.nat(), entryPoints, (userOperation, chainId, entryPoint) => {
        const asked = { chainId: String(chainId), entryPoint: lower(entryPoint), userOperation };
        expect(toHex(hashUserOperation(asked))).toBe(
          getUserOperationHash({
            ...{ chainId, entryPointAddress: entryPoint, entryPointVersion: version },
            userOperation: forViem(userOperation) as never,
          }),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("every field changes the hash", () => {
    const full = operation(version, {
      factory: version === "0.8" ? null : { address: lower(TOKEN), data: "0x12" },
      paymaster: {
        ...{ address: lower(TOKEN), data: "0x34" },
        ...(version === "0.6" ? {} : { verificationGasLimit: "3", postOpGasLimit: "4" }),
      },
      ...(version === "0.8" ? { delegation: { delegate: lower(TOKEN), data: "0x56" } } : {}),
    });
    const hashes = new Set([toHex(hashUserOperation(request(full)))]);
    const leaves = leavesOf(full).filter(([path]) => path[0] !== "version");
    for (const [path, value] of leaves)
      hashes.add(toHex(hashUserOperation(request(changed(full, path, other(value))))));
    hashes.add(toHex(hashUserOperation({ ...request(full), chainId: "138" })));
    hashes.add(toHex(hashUserOperation({ ...request(full), entryPoint: lower(OWNER) })));
    expect(leaves.length).toBeGreaterThan(11);
    expect(hashes.size).toBe(1 + leaves.length + 2);
  });

  test("ENTRY_POINT_MISMATCH for the entry point of another", () => {
    for (const another of versions.filter((each) => each !== version)) {
      expect(() => hashUserOperation(request(operation(version), lower(ENTRY_POINTS[another])))).toThrow(
        expect.objectContaining({ code: "ENTRY_POINT_MISMATCH" }),
      );
    }
  });
});

describe("what policies are told", () => {
  const transfer = encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [OWNER, 25n] });
  const callData = encodeFunctionData({
    abi: parseAbi(["function execute(address,uint256,bytes)"]),
    args: [TOKEN, 3n, transfer],
  });

  test("who, where, what it calls and what that moves", () => {
    const sender = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
    expect(userOperationFacts(OWNER, request(operation("0.7", { sender: lower(sender), callData })))).toEqual({
      ...{ kind: "evm-user-operation", from: OWNER, version: "0.7", chainId: 137n, entryPoint: entryPoint07Address },
      ...{ sender, nonce: 1n, callData: hexToBytes(callData), factory: null, delegate: null, paymaster: null },
      calls: [{ to: TOKEN, valueWei: 3n, data: hexToBytes(transfer) }],
      hasUnreadTokenCall: false,
      tokenMoves: [
        {
          ...{ standard: "erc20", effect: "transfer", token: TOKEN, amount: 25n, tokenId: null },
          // The smart account's tokens, not the owner's.
          ...{ owner: sender, recipient: OWNER },
        },
      ],
      maxFeeWei: 111n * 7n,
    });
  });

  test("calls that are not understood are null, not none", () => {
    expect(userOperationFacts(OWNER, request(operation("0.7", { callData: transfer })))).toMatchObject({
      ...{ calls: null, tokenMoves: [], hasUnreadTokenCall: false },
    });
  });

  test("who makes, who pays and what it becomes, with the most that it may cost", () => {
    const both = { address: lower(TOKEN), data: "0x" };
    const limits = { verificationGasLimit: "1000", postOpGasLimit: "10000" };
    expect(userOperationFacts(OWNER, request(operation("0.6", { factory: both, paymaster: both })))).toMatchObject({
      ...{ factory: TOKEN, paymaster: TOKEN, delegate: null, maxFeeWei: (100n + 3n * 10n + 1n) * 7n },
    });
    expect(userOperationFacts(OWNER, request(operation("0.7", { paymaster: { ...both, ...limits } })))).toMatchObject({
      ...{ factory: null, paymaster: TOKEN, maxFeeWei: 11_111n * 7n },
    });
    const delegation = { delegate: lower(TOKEN), data: "0x" };
    expect(userOperationFacts(OWNER, request(operation("0.8", { delegation })))).toMatchObject({
      ...{ factory: TOKEN, delegate: TOKEN, maxFeeWei: 111n * 7n },
    });
  });

  // EntryPoint 0.8 puts the delegate's address where a factory's would stand, and hashes that.
  test("of 0.8, one that has a factory's hash and a delegate's is judged as both", () => {
    const made = request(operation("0.8", { factory: { address: lower(TOKEN), data: "0x56" } }));
    const delegated = request(operation("0.8", { delegation: { delegate: lower(TOKEN), data: "0x56" } }));
    expect(toHex(hashUserOperation(made))).toBe(toHex(hashUserOperation(delegated)));
    expect(userOperationFacts(OWNER, made)).toEqual(userOperationFacts(OWNER, delegated));
  });
});

describe("params", () => {
  const { params } = OPERATIONS.sign_user_operation;
  const asked = (userOperation: object, changes: object = {}) => ({
    ...{ walletId: `wal_${"0".repeat(32)}`, chainId: "1", entryPoint: lower(entryPoint07Address), over: "hash" },
    ...{ userOperation, ...changes },
  });
  const MARKER = "0x7702000000000000000000000000000000000000";
  const factory = { address: lower(TOKEN), data: "0x" };

  test.each(versions)("of version %s are taken as they stand", (version) => {
    expect(params.safeParse(asked(operation(version))).success).toBe(true);
  });

  test.each<[string, object]>([
    ["no version", { ...operation("0.7"), version: undefined }],
    ["version 0.9", { ...operation("0.8"), version: "0.9" }],
    ["a field of another version", operation("0.7", { delegation: null })],
    ["initCode, as 0.6 has it on the wire", operation("0.6", { initCode: "0x" })],
    ["a signature", operation("0.7", { signature: "0x" })],
    ["a paymaster of 0.6 in 0.7", operation("0.7", { paymaster: factory })],
    [
      "a paymaster of 0.7 in 0.6",
      operation("0.6", { paymaster: { ...factory, verificationGasLimit: "1", postOpGasLimit: "1" } }),
    ],
    ["a fee over 2^120 - 1", operation("0.7", { maxFeePerGas: (2n ** 120n).toString() })],
    ["a fee that is a number", operation("0.7", { maxFeePerGas: 7 })],
    ...["", "abc", "-1", "1e3", "9".repeat(400)].map((text): [string, object] => [
      `a fee of ${JSON.stringify(text.slice(0, 20))}`,
      operation("0.8", { maxFeePerGas: text }),
    ]),
    ["a nonce in hex", operation("0.7", { nonce: "0x1" })],
    ["a sender in mixed case", operation("0.7", { sender: OWNER })],
    ["a sender of 19 bytes", operation("0.7", { sender: `0x${"11".repeat(19)}` })],
    ["a factory and a delegation", operation("0.8", { factory, delegation: { delegate: lower(TOKEN), data: "0x" } })],
    ["EIP-7702's marker for a factory", operation("0.8", { factory: { address: MARKER, data: "0x" } })],
    ...Object.keys(operation("0.8")).map((name): [string, object] => {
      const { [name as "nonce"]: _missing, ...rest } = operation("0.8");
      return [`no ${name}`, rest];
    }),
  ])("refuse %s", (_what, userOperation) => {
    expect(params.safeParse(asked(userOperation)).success).toBe(false);
  });

  test.each(["chainId", "entryPoint", "over"])("refuse to go without %s", (name) => {
    expect(params.safeParse({ ...asked(operation("0.7")), [name]: undefined }).success).toBe(false);
  });
});

test("any params are taken or refused, and nothing is thrown", () => {
  const anything = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.constant({}), fc.constant([]));
  const operations = [
    "sign_transaction",
    "sign_message",
    "sign_typed_data",
    "sign_authorization",
    "sign_user_operation",
  ] as const;
  const good = {
    ...{ walletId: `wal_${"0".repeat(32)}`, chainId: "1", entryPoint: lower(OWNER), over: "hash", message: "0x" },
    ...{
      unsignedTransaction: "0x",
      typedData: {},
      delegate: lower(OWNER),
      nonce: "1",
      userOperation: operation("0.8"),
    },
  };
  const places = leavesOf(good).map(([path]) => path);
  fc.assert(
    fc.property(fc.constantFrom(...operations), fc.constantFrom(...places), anything, (name, path, value) => {
      const asked = changed(good as never, path, value as never) as unknown as Record<string, unknown>;
      const { shape } = OPERATIONS[name].params;
      const fitting = Object.fromEntries(Object.entries(asked).filter(([key]) => Object.hasOwn(shape, key)));
      expect(OPERATIONS[name].params.safeParse(fitting)).toHaveProperty("success");
    }),
    { numRuns: 1_000 },
  );
});

function leavesOf(value: object, path: readonly string[] = []): (readonly [readonly string[], string])[] {
  return Object.entries(value).flatMap(([key, its]) =>
    typeof its === "string" ? [[[...path, key], its] as const] : its === null ? [] : leavesOf(its, [...path, key]),
  );
}

function changed(value: UserOperation, path: readonly string[], to: string): UserOperation {
  const copy = structuredClone(value);
  const holder = path.slice(0, -1).reduce<unknown>((inside, key) => (inside as Record<string, unknown>)[key], copy);
  (holder as Record<string, unknown>)[path.at(-1) ?? ""] = to;
  return copy;
}

/** Another value of the same form. */
function other(value: string): string {
  if (!value.startsWith("0x")) return String(BigInt(value) + 1n);
  return value.length === 42 ? `0x${"77".repeat(20)}` : `${value}99`;
}
