/** What limits count, on calldata made by viem: never less than what may move. */
import { type Address, encodeFunctionData, type Hex, hexToBytes, parseAbi } from "viem";
import { describe, expect, test } from "vitest";
import { amountOf } from "../../../enclave/policy/amounts.ts";
import type { EvmTransactionFacts, Facts } from "../../../enclave/policy/facts.ts";
import { transactionFacts } from "../../../enclave/signing/evm/transaction-facts.ts";
import { type UserOperationRequest, userOperationFacts } from "../../../enclave/signing/evm/user-operation.ts";
import { allows, BOB, CAROL, denies, FROM, SAMPLES, USDC } from "./requests.ts";

const ABI = parseAbi([
  "function transfer(address,uint256)",
  "function execute(address,uint256,bytes)",
  "function executeBatch((address,uint256,bytes)[])",
  // stETH, OpenZeppelin 1, WETH, ERC-677.
  "function transferShares(address,uint256)",
  "function increaseApproval(address,uint256)",
  "function withdraw(uint256)",
  "function transferAndCall(address,uint256,bytes)",
]);
const encode = (functionName: string, ...args: readonly unknown[]): Hex =>
  encodeFunctionData({ abi: ABI, functionName, args } as never);
const transfer = encode("transfer", BOB, 60n);
const SMART = "0x5aFE3855358E112B5647B952709E6165e1c1eEEe";
const NOBODY = "0x0000000000000000000000000000000000000000";

function transaction(to: string, data: Hex, valueWei = 0n): EvmTransactionFacts {
  return transactionFacts(FROM, {
    ...{ type: 2, chainId: 1n, nonce: 0n, maxPriorityFeePerGas: 1n, maxFeePerGas: 1n, gasLimit: 21_000n },
    ...{ to: hexToBytes(to as Address), valueWei, data: hexToBytes(data), accessList: [] },
    ...{ maxFeePerBlobGas: 0n, blobVersionedHashes: [], authorizations: [] },
  });
}

function operation(callData: Hex): Facts {
  const gas = { callGasLimit: "1", verificationGasLimit: "1", preVerificationGas: "1", maxFeePerGas: "1" };
  const userOperation = {
    ...{ version: "0.7", sender: SMART.toLowerCase(), nonce: "0", callData, factory: null, paymaster: null },
    ...{ ...gas, maxPriorityFeePerGas: "1" },
  };
  const entryPoint = "0x0000000071727de22e5e9d8baf0edac6f37da032";
  return userOperationFacts(FROM, { chainId: "1", entryPoint, userOperation } as UserOperationRequest);
}

const usdcOf = (facts: Facts) => amountOf({ asset: "token", token: USDC }, facts);
const weiOf = (facts: Facts) => amountOf({ asset: "value" }, facts);

describe("a token's amount", () => {
  test("is what its known functions move, and nothing where others are called", () => {
    expect(usdcOf(transaction(USDC, transfer))).toBe(60n);
    expect(usdcOf(transaction(CAROL, transfer))).toBe(0n);
    expect(usdcOf(transaction(CAROL, encode("withdraw", 5n)))).toBe(0n);
    expect(usdcOf(transaction(USDC, "0x", 5n))).toBe(0n);
    expect(usdcOf(operation(encode("execute", USDC, 0n, transfer)))).toBe(60n);
  });

  test.each<[string, Hex]>([
    ["transferShares", encode("transferShares", BOB, 60n)],
    ["increaseApproval", encode("increaseApproval", BOB, 60n)],
    ["withdraw", encode("withdraw", 60n)],
    ["transferAndCall", encode("transferAndCall", BOB, 60n, "0x")],
    ["three bytes", "0xa9059c"],
  ])("cannot be told where the token is asked for %s", (_what, data) => {
    expect(usdcOf(transaction(USDC, data))).toBeNull();
    const batch = [
      [USDC, 0n, transfer],
      [USDC, 0n, data],
    ];
    expect(usdcOf(operation(encode("executeBatch", batch)))).toBeNull();
  });
});

/** EIP-7702 and ERC-4337: the account has code, and calls it as itself. ERC-7821 takes no address for its own. */
describe("an account that calls itself", () => {
  const inner = encode("execute", BOB, 10n ** 18n, "0x");

  test("with EIP-7702's code moves what cannot be told", () => {
    for (const facts of [transaction(FROM, inner), transaction(FROM, encode("execute", USDC, 0n, transfer))]) {
      expect(weiOf(facts)).toBeNull();
      expect(usdcOf(facts)).toBeNull();
      expect(allows(facts, [{ field: "evm.understood", is: true }])).toBe(false);
      expect(denies(facts, [{ some: "moves", is: [{ field: "move.recipient", in: [CAROL] }] }])).toBe(true);
    }
    expect(weiOf(transaction(FROM, "0x", 3n))).toBe(3n);
    expect(weiOf(transaction(BOB, inner, 3n))).toBe(3n);
  });

  test.each([SMART, NOBODY])("in a user operation, as %s, is not understood", (self) => {
    for (const callData of [encode("execute", self, 0n, inner), encode("executeBatch", [[self, 0n, inner]])]) {
      const facts = operation(callData);
      expect(facts).toMatchObject({ calls: null, tokenMoves: [] });
      expect(weiOf(facts)).toBeNull();
      expect(usdcOf(facts)).toBeNull();
      expect(denies(facts, [{ some: "calls", is: [{ field: "call.to", in: [BOB] }] }])).toBe(true);
    }
    expect(weiOf(operation(encode("execute", self, 3n, "0x")))).toBe(3n);
  });
});

test("several transfers of one token are understood, and a call that is none among them is not", () => {
  const batch = (...datas: readonly Hex[]) =>
    operation(
      encode(
        "executeBatch",
        datas.map((data) => [USDC, 0n, data]),
      ),
    );
  const understood = [{ field: "evm.understood", is: true }] as const;
  expect(allows(batch(transfer, transfer), understood)).toBe(true);
  expect(allows(batch(transfer, encode("withdraw", 1n)), understood)).toBe(false);
});

test("of a Bitcoin signature that leaves something open, all that it may spend may be the fee", () => {
  const facts = SAMPLES["bitcoin-transaction"];
  expect(amountOf({ asset: "fee" }, facts)).toBe(facts.feeSats);
  for (const type of ["NONE", "SINGLE", "ALL|ANYONECANPAY"]) {
    expect(amountOf({ asset: "fee" }, { ...facts, sighashTypes: ["ALL", type] })).toBe(facts.spentSats);
  }
});
