/** What a limit counts of a request. */
import type { Limit } from "../../protocol/index.ts";
import { isTokenCall } from "../signing/evm/token-moves.ts";
import { chainOf, type EvmTransactionFacts, type EvmUserOperationFacts, type Facts } from "./facts.ts";
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
      // The account's own code (EIP-7702) may send whatever there is.
      return facts.to === facts.from && facts.data.length > 0 ? null : facts.valueWei;
    case "evm-user-operation":
      return facts.calls === null ? null : sum(facts.calls.map(({ valueWei }) => valueWei));
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
      if (facts.hasUnreadTokenCall || asksInOtherWords(wanted, facts)) return null;
      const amounts = facts.tokenMoves.filter((move) => normalized(move.token) === wanted).map(({ amount }) => amount);
      return amounts.includes(null) ? null : sum(amounts as bigint[]);
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

/**
 * Whether a token is, or may be, asked for something that no standard knows: it may move by that as well. Of calls of other
 * contracts it cannot, save by what it was asked to approve, which was counted.
 */
function asksInOtherWords(token: string, facts: EvmTransactionFacts | EvmUserOperationFacts): boolean {
  const calls = facts.kind === "evm-user-operation" ? facts.calls : [facts];
  if (calls === null) return true;
  return calls.some(({ to, data }) => to !== null && normalized(to) === token && data.length > 0 && !isTokenCall(data));
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
