/** What policies promise, whatever stands in them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePolicy } from "../../../enclave/policy/compile.ts";
import { decide } from "../../../enclave/policy/decide.ts";
import { Evaluation, MAX_STEPS } from "../../../enclave/policy/evaluation.ts";
import { MAX_POLICY_CONDITIONS, rulesOf } from "../../../protocol/index.ts";
import {
  ALL_FACTS,
  allow,
  anyCondition,
  anyFacts,
  anyRules,
  compiled,
  deny,
  documentOf,
  judge,
  requestFor,
  SAMPLES,
  TRANSACTION,
} from "./requests.ts";

describe("properties", () => {
  test("an empty policy denies everything, and so does none at the level of the app", () => {
    for (const facts of ALL_FACTS) {
      expect(judge(facts, [])).toMatchObject({ kind: "denied", reason: "NOT_ALLOWED", level: "app" });
      expect(decide(new Evaluation(requestFor(facts)), [])).toMatchObject({ kind: "denied", reason: "NO_APP_POLICY" });
      const userAlone = [{ level: "user", policy: compiled(allow("everything")) }] as const;
      expect(decide(new Evaluation(requestFor(facts)), userAlone)).toMatchObject({
        kind: "denied",
        reason: "NO_APP_POLICY",
      });
    }
  });

  test("adding a rule that denies never allows more", () => {
    fc.assert(
      fc.property(anyFacts, anyRules, fc.array(anyCondition, { maxLength: 2 }), (facts, rules, when) => {
        const before = judge(facts, rules);
        const after = judge(facts, [...rules, deny("added-deny", ...when)]);
        if (before.kind === "denied") expect(after.kind).toBe("denied");
        else expect(after.kind === "denied" || JSON.stringify(after) === JSON.stringify(before)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("adding a level never allows more, and each must allow", () => {
    fc.assert(
      fc.property(anyFacts, anyRules, anyRules, (facts, app, user) => {
        const levels = [{ level: "app", policy: compiled(...app) }] as const;
        const both = [...levels, { level: "user", policy: compiled(...user) }] as const;
        const request = requestFor(facts);
        const isOpen = judge(facts, app).kind === "open" && judge(facts, user).kind === "open";
        expect(decide(new Evaluation(request), both).kind).toBe(isOpen ? "open" : "denied");
      }),
      { numRuns: 300 },
    );
  });

  test("the order of rules says nothing: not whether, and not by which rule", () => {
    fc.assert(
      fc.property(
        anyFacts,
        anyRules.chain((rules) =>
          fc.tuple(fc.constant(rules), fc.shuffledSubarray([...rules], { minLength: rules.length })),
        ),
        (facts, [rules, shuffled]) => {
          expect(judge(facts, shuffled)).toEqual(judge(facts, rules));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("a condition and its contrary never let the same thing through", () => {
    fc.assert(
      fc.property(anyFacts, anyCondition, (facts, condition) => {
        const [first, second] = [condition, { not: condition }].map((each) => {
          const policy = compilePolicy({ v: 1, rules: [allow("it", each)] });
          return decide(new Evaluation(requestFor(facts)), [{ level: "app", policy }]).kind === "open";
        });
        expect(first && second).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test("evaluation ends within its bound, and what would go over it is denied", () => {
    fc.assert(
      fc.property(anyFacts, anyRules, fc.integer({ min: 0, max: 30 }), (facts, rules, maxSteps) => {
        const evaluation = new Evaluation(requestFor(facts), maxSteps);
        for (const { test: holds } of compiled(...rules).rules.get(facts.kind)?.allows ?? []) {
          try {
            holds(evaluation, null);
          } catch {
            break;
          }
        }
        expect(evaluation.steps).toBeLessThanOrEqual(maxSteps + 1);
        const verdict = judge(facts, rules, { maxSteps });
        if (verdict.kind === "open") expect(judge(facts, rules)).toEqual(verdict);
      }),
    );
  });
});

test("a document at its greatest is judged within the bound, and more outputs than it has room for are TOO_MUCH_WORK", () => {
  const rules = Array.from({ length: 1000 }, (_, at) =>
    allow(`r${at}`, { every: "outputs", is: [{ field: "output.amount", in: [String(at)] }] }),
  );
  const [output] = SAMPLES["bitcoin-transaction"].outputs;
  if (output === undefined) throw new Error("no output");
  const outputsOf = (count: number) => ({
    ...SAMPLES["bitcoin-transaction"],
    outputs: Array.from({ length: count }, () => ({ ...output, amountSats: 1n })),
  });
  const hardest = rules.map(({ id }) => deny(id, { some: "outputs", is: [{ field: "output.amount", in: ["2"] }] }));
  expect(judge(outputsOf(40), hardest)).toMatchObject({ reason: "NOT_ALLOWED" });
  expect(judge(outputsOf(MAX_STEPS / 1000 + 1), hardest)).toMatchObject({ kind: "denied", reason: "TOO_MUCH_WORK" });
  expect(judge(outputsOf(40), rules).kind).toBe("open");
  expect(MAX_POLICY_CONDITIONS).toBeLessThan(MAX_STEPS);
});

test("what a rule denies is said with the level, the rule, and what was found", () => {
  const verdict = judge(TRANSACTION, [
    allow("everything"),
    deny("b-large", { field: "evm.value", atLeast: "5" }),
    deny("a-large", { field: "evm.value", atLeast: "5" }, { field: "evm.nonce", in: ["7"] }),
  ]);
  expect(verdict).toEqual({
    ...{ kind: "denied", reason: "DENIED_BY_RULE", level: "app", rule: "a-large" },
    findings: [
      { rule: "a-large", condition: '{"field":"evm.value","atLeast":"5"}', is: "yes", fact: "1000000000000000000" },
      { rule: "a-large", condition: '{"field":"evm.nonce","in":["7"]}', is: "yes", fact: "7" },
    ],
  });
});

test("what nothing allows is said with what kept the nearest rules from it", () => {
  const verdict = judge(TRANSACTION, [
    allow("small", { field: "evm.value", atMost: "5" }),
    allow("messages", { field: "kind", in: ["evm-message"] }),
  ]);
  expect(verdict).toMatchObject({
    reason: "NOT_ALLOWED",
    findings: [{ rule: "small", is: "no", fact: "1000000000000000000" }],
  });
});

test("of rules that allow, one that asks for nothing more is enough; else the ones with limits come before approvals", () => {
  const limits = [{ asset: "value", amount: "1", windowS: 60, per: "user" }] as const;
  const approvals = { of: ["own-passkey"], threshold: 1, expiresS: 60 };
  const limited = { id: "z-limited", effect: "allow", when: [], limits } as const;
  const approved = { id: "a-approved", effect: "allow", when: [], approvals } as const;
  const candidates = (rules: Parameters<typeof judge>[1]) => {
    const verdict = judge(TRANSACTION, rules);
    return verdict.kind === "open" ? verdict.levels.map((each) => each.candidates.map(({ id }) => id)) : verdict;
  };
  expect(candidates([approved, limited])).toEqual([["z-limited", "a-approved"]]);
  expect(candidates([approved, limited, allow("zz-free")])).toEqual([["zz-free"]]);
  // A message has no value to count: the rule that limits it cannot let it through.
  expect(judge(SAMPLES["evm-message"], [limited])).toMatchObject({ reason: "NOT_ALLOWED" });
});

describe("the short form", () => {
  const judged = (facts: Parameters<typeof judge>[0], evmChainIds: string[], messages: "allow" | "deny") =>
    decide(new Evaluation(requestFor(facts)), [
      { level: "app", policy: compilePolicy(documentOf(...rulesOf({ evmChainIds, messages }).rules)) },
    ]).kind === "open";

  test("allows what it names, and nothing else", () => {
    expect(judged(TRANSACTION, ["1"], "deny")).toBe(true);
    expect(judged(TRANSACTION, ["137"], "allow")).toBe(false);
    expect(judged(TRANSACTION, [], "allow")).toBe(false);
    expect(judged(SAMPLES["evm-message"], [], "allow")).toBe(true);
    expect(judged(SAMPLES["evm-message"], ["1"], "deny")).toBe(false);
    for (const facts of ALL_FACTS) {
      const isNamed = facts.kind === "evm-transaction" || facts.kind === "evm-message";
      expect(judged(facts, ["1"], "allow")).toBe(isNamed);
    }
    expect(judged({ ...TRANSACTION, type: 4 }, ["1"], "allow")).toBe(false);
  });

  test("a chain is named whole: no prefix of it, no number near it", () => {
    const beyond = 2n ** 53n;
    expect(judged({ ...TRANSACTION, chainId: 137n }, ["1", "13", "1370"], "deny")).toBe(false);
    expect(judged({ ...TRANSACTION, chainId: beyond }, [String(beyond + 1n)], "deny")).toBe(false);
    expect(judged({ ...TRANSACTION, chainId: beyond + 1n }, [String(beyond + 1n)], "deny")).toBe(true);
  });
});
