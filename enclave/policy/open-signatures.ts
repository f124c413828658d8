/** Signatures of Bitcoin's that leave something open to whoever has them, such as `NONE`: a blank cheque. */
import type { Rule } from "../../protocol/index.ts";
import type { Facts } from "./facts.ts";

export function leavesOpen(facts: Facts): boolean {
  return (
    facts.kind === "bitcoin-transaction" && facts.sighashTypes.some((type) => type !== "ALL" && type !== "DEFAULT")
  );
}

/** Only a rule that says something of `sighashes`, outright and not as one of several ways, means them. */
export function speaksOfSighashes({ when }: Rule): boolean {
  return when.some(
    (each) => ("some" in each && each.some === "sighashes") || ("every" in each && each.every === "sighashes"),
  );
}
