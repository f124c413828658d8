/** What a limit counts of a request. */
import type { Limit } from "../../protocol/index.ts";
import { isTokenCall } from "../signing/evm/token-moves.ts";
import { chainOf, type EvmCall, type EvmTransactionFacts, type EvmUserOperationFacts, type Facts } from "./facts.ts";
import { leavesOpen } from "./open-signatures.ts";
import { normalized } from "./value-tests.ts";

/**
 * In the asset's smallest unit. Null where it cannot be told how much: then the rule that limits it cannot let it through.
 */
export function amountOf({ asset, token = "" }: Pick<Limit, "asset" | "token">, facts: Facts): bigint | null {
  switch (asset) {
    case "requests":
      return 1n;
    case "value":
      return coinsOf(facts);
    case "fee":
      return feeOf(facts);
    case "token":
      return tokenAmountOf(token, facts);
  }
}

/** What is counted of each chain by itself: a wei here is none there. */
export function chainOfLimit({ asset }: Pick<Limit, "asset">, facts: Facts): string {
  return asset === "requests" ? "" : (chainOf(facts) ?? "");
}

function coinsOf(facts: Facts): bigint | null {
  switch (facts.kind) {
    case "evm-transaction":
    case "evm-user-operation": {
      const calls = callsOf(facts);
      return calls === null || calls.some(isToItself(facts)) ? null : sum(calls.map(({ valueWei }) => valueWei));
    }
    case "solana-transaction":
      if (facts.unknownInstructions.length > 0) return null;
      return sum(facts.transfers.filter(({ asset }) => asset === "sol").map(({ amount }) => amount));
    case "bitcoin-transaction":
      return facts.spentSats;
    default:
      return null;
  }
}

function feeOf(facts: Facts): bigint | null {
  switch (facts.kind) {
    case "evm-transaction":
    case "evm-user-operation":
      return facts.maxFeeWei;
    case "solana-transaction":
      return facts.maxFeeLamports;
    case "bitcoin-transaction":
      // Others may take outputs away, or what they bring, and leave it to the miner.
      return leavesOpen(facts) ? facts.spentSats : facts.feeSats;
    default:
      return null;
  }
}

function tokenAmountOf(token: string, facts: Facts): bigint | null {
  const wanted = normalized(token);
  switch (facts.kind) {
    case "evm-transaction":
    case "evm-user-operation": {
      if (facts.hasUnreadTokenCall) return null;
      const amounts = evmAmountsOf(facts);
      return amounts === null ? null : (amounts.get(wanted) ?? (amounts.has(wanted) ? null : 0n));
    }
    case "solana-transaction": {
      const tokens = facts.transfers.filter(({ asset }) => asset === "token");
      // A plain transfer does not name its mint: it may be this one.
      if (facts.unknownInstructions.length > 0 || tokens.some(({ mint }) => mint === null)) return null;
      return sum(tokens.filter(({ mint }) => mint === token).map(({ amount }) => amount));
    }
    default:
      return null;
  }
}

type EvmCalls = EvmTransactionFacts | EvmUserOperationFacts;

function callsOf(facts: EvmCalls): readonly EvmCall[] | null {
  if (facts.kind === "evm-user-operation") return facts.calls;
  const { to, valueWei, data } = facts;
  // What makes a contract is nobody's call.
  return [{ to: to ?? "", valueWei, data }];
}

/** An account that has code (EIP-7702, ERC-7579) does by a call of itself whatever it can do. */
function isToItself(facts: EvmCalls): (call: EvmCall) => boolean {
  const itself = normalized(facts.kind === "evm-transaction" ? facts.from : facts.sender);
  return ({ to, data }) => data.length > 0 && normalized(to) === itself;
}

/** Once for each request: a document can have thousands of limits, and a request thousands of moves. */
const evmAmounts = new WeakMap<EvmCalls, ReadonlyMap<string, bigint | null> | null>();

/** By contract. Null within where a call of that contract may move any amount, and null altogether where any may. */
function evmAmountsOf(facts: EvmCalls): ReadonlyMap<string, bigint | null> | null {
  const known = evmAmounts.get(facts);
  if (known !== undefined) return known;
  const read = readEvmAmounts(facts);
  evmAmounts.set(facts, read);
  return read;
}

function readEvmAmounts(facts: EvmCalls): ReadonlyMap<string, bigint | null> | null {
  const calls = callsOf(facts);
  if (calls === null || calls.some(isToItself(facts))) return null;
  const amounts = new Map<string, bigint | null>();
  for (const { token, amount } of facts.tokenMoves) {
    const before = amounts.get(normalized(token));
    amounts.set(normalized(token), before === null || amount === null ? null : (before ?? 0n) + amount);
  }
  for (const { to } of calls.filter((call) => !isTokenCall(call))) amounts.set(normalized(to), null);
  return amounts;
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
