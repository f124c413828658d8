/** Policies tried without an enclave, by the very code that decides in it. What limits have left, only an enclave knows. */
import { decodeHex, type Policy } from "../../protocol/index.ts";
import { parseTransaction } from "../signing/evm/transaction.ts";
import { transactionFacts } from "../signing/evm/transaction-facts.ts";
import { parseTypedData } from "../signing/evm/typed-data.ts";
import { compilePolicy } from "./compile.ts";
import { decide, type Level, type Verdict } from "./decide.ts";
import { explain, type Finding } from "./explain.ts";
import type { Facts } from "./facts.ts";
import type { PolicyRequest } from "./fields.ts";

export type { Level, Verdict } from "./decide.ts";
export type { Facts } from "./facts.ts";
export { factsFromJson } from "./facts-json.ts";
export type { Caller, PolicyRequest } from "./fields.ts";
export { lintPolicy, type PolicyFinding } from "./lint.ts";

export interface Explained {
  readonly verdict: Verdict;
  readonly rules: readonly {
    readonly level: Level;
    readonly rule: string;
    readonly effect: "allow" | "deny";
    readonly findings: readonly Finding[];
  }[];
}

/** @throws {@link RequestError} `INVALID_PARAMS` for a document that does not compile */
export function tryPolicies(
  request: PolicyRequest,
  documents: readonly { readonly level: Level; readonly policy: Policy }[],
): Explained {
  const levels = documents.map(({ level, policy }) => ({ level, policy: compilePolicy(policy) }));
  const rules = documents.flatMap(({ level, policy }) =>
    policy.rules.map((rule) => ({ level, rule: rule.id, effect: rule.effect, findings: explain(rule, request) })),
  );
  return { verdict: decide(request, levels), rules };
}

/** @throws {@link RequestError} what the enclave's parser throws */
export function factsOfEvmTransaction(hex: string, from: string): Facts {
  return transactionFacts(from, parseTransaction(decodeHex(hex.replace(/^0x/, ""))));
}

/** @throws as {@link factsOfEvmTransaction} */
export function factsOfTypedData(json: Parameters<typeof parseTypedData>[0], from: string): Facts {
  const { domain, primaryType, message } = parseTypedData(json);
  return { kind: "evm-typed-data", from, domain, primaryType, message };
}
