/** What an app's wallets may sign. Nothing is allowed that a policy does not name. */
import type { Policy, Rule } from "../../protocol/index.ts";
import { chainOf, type Facts } from "./facts.ts";

export type Decision = { readonly kind: "allow" } | { readonly kind: "deny"; readonly reason: string };

export function decide(facts: Facts, policy: Policy | null): Decision {
  const rules = policy?.rules ?? [];
  const isAllowed = rules.some((rule) => rule.effect === "allow" && matches(rule, facts));
  if (isAllowed && !rules.some(({ effect }) => effect === "deny")) return { kind: "allow" };
  return { kind: "deny", reason: `the app's policy does not allow this ${facts.kind} on ${chainOf(facts)}` };
}

function matches({ when }: Rule, facts: Facts): boolean {
  return when.every((each) => {
    if (!("field" in each)) return false;
    if (each.field === "kind") return "in" in each && each.in?.includes(facts.kind);
    if (each.field === "chain") return "in" in each && each.in?.includes(chainOf(facts) ?? "");
    return each.field === "evm.type" && facts.kind === "evm-transaction" && facts.type <= 3;
  });
}
