/** Policies as the enclave asks them, for rows that measure what they cost too. */
import { compilePolicy } from "../../enclave/policy/compile.ts";
import { decide } from "../../enclave/policy/decide.ts";
import { Evaluation } from "../../enclave/policy/evaluation.ts";
import type { Facts } from "../../enclave/policy/facts.ts";
import { type AppOperation, type Policy, policy } from "../../protocol/index.ts";

const CALLER = { kind: "session", userId: "u", sessionId: "s", loginId: "l", publicKey: "k" } as const;

/** Throws where the policy denies: a row that counted refusals as work would be fast and worthless. */
export function judgeBy(document: Policy): (operation: AppOperation, facts: Facts) => void {
  const levels = [{ level: "app", policy: compilePolicy(policy.parse(document)) }] as const;
  return (operation, facts) => {
    const request = { caller: CALLER, operation, walletId: "w", facts, nowMs: Date.now() };
    const verdict = decide(new Evaluation(request), levels);
    if (verdict.kind !== "open") throw new Error(`denied: ${verdict.reason}`);
  };
}
