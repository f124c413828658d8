/** A blank cheque is signed by the rule that means it, and by no broader one. */
import { expect, test } from "vitest";
import { compilePolicy } from "../../../enclave/policy/compile.ts";
import { decide } from "../../../enclave/policy/decide.ts";
import { Evaluation } from "../../../enclave/policy/evaluation.ts";
import type { BitcoinTransactionFacts } from "../../../enclave/policy/facts.ts";
import { type Policy, policy } from "../../../protocol/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";

const facts = (sighashTypes: readonly string[]): BitcoinTransactionFacts => ({
  ...{ kind: "bitcoin-transaction", network: "bitcoin", inputs: [], outputs: [], feeSats: 0n, spentSats: 0n },
  sighashTypes,
});

function verdictOf(document: Policy, sighashTypes: readonly string[]): string {
  const caller = { kind: "session", userId: "u", sessionId: "s", loginId: "l", publicKey: "k" } as const;
  const request = {
    ...{ caller, operation: "sign_bitcoin_transaction", walletId: "w", nowMs: 0 },
    facts: facts(sighashTypes),
  } as const;
  return decide(new Evaluation(request), [{ level: "app", policy: compilePolicy(policy.parse(document)) }]).kind;
}

const NAMED: Policy = {
  v: 1,
  rules: [
    {
      ...{ id: "auctions", effect: "allow" },
      when: [{ every: "sighashes", is: [{ field: "sighash.type", in: ["SINGLE|ANYONECANPAY", "ALL"] }] }],
    },
  ],
};
const ONE_OF_SEVERAL: Policy = {
  v: 1,
  rules: [{ id: "any", effect: "allow", when: [{ any: [NAMED.rules[0]?.when[0] ?? { any: [] }] }] }],
};

test.each([
  ["everything", ALLOW_ALL, ["ALL", "DEFAULT"], "open"],
  ["everything", ALLOW_ALL, ["NONE"], "denied"],
  ["everything", ALLOW_ALL, ["ALL", "SINGLE|ANYONECANPAY"], "denied"],
  ["a type by name", NAMED, ["SINGLE|ANYONECANPAY"], "open"],
  ["a type by name", NAMED, ["ALL", "SINGLE|ANYONECANPAY"], "open"],
  ["a type by name", NAMED, ["NONE"], "denied"],
  ["a type as one of several ways", ONE_OF_SEVERAL, ["SINGLE|ANYONECANPAY"], "denied"],
] as const)("a rule that allows %s: %# %j", (_name, document, types, verdict) => {
  expect(verdictOf(document, types)).toBe(verdict);
});
