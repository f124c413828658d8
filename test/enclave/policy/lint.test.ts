/** Findings that claim to be certain are held against requests: a rule that never matches, or is shadowed, decides nothing. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePolicy } from "../../../enclave/policy/compile.ts";
import { decide } from "../../../enclave/policy/decide.ts";
import { Evaluation } from "../../../enclave/policy/evaluation.ts";
import { lintPolicy } from "../../../enclave/policy/lint.ts";
import type { Policy, Rule } from "../../../protocol/index.ts";
import { allow, anyFacts, anyRules, BOB, deny, documentOf, requestFor } from "./requests.ts";

const codesOf = (...rules: Rule[]) => lintPolicy(documentOf(...rules)).map(({ code, rule }) => [code, rule]);

describe("NEVER_MATCHES", () => {
  test.each<[string, Rule]>([
    ["facts of two kinds", allow("it", { field: "evm.value", atMost: "5" }, { field: "bitcoin.fee", atMost: "5" })],
    ["two values at once", allow("it", { field: "chain", in: ["eip155:1"] }, { field: "chain", in: ["eip155:10"] })],
    ["over its own maximum", allow("it", { field: "evm.value", atLeast: "6", atMost: "5" })],
    [
      "outside of its bounds",
      allow("it", { field: "evm.nonce", in: ["1", "2"] }, { field: "evm.nonce", atLeast: "3" }),
    ],
    [
      "inside all",
      allow("it", {
        all: [
          { field: "evm.nonce", atLeast: "3" },
          { field: "evm.nonce", atMost: "2" },
        ],
      }),
    ],
    ["over before it begins", allow("it", { between: ["2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"] })],
    [
      "a digest that is not named",
      allow("it", {
        any: [
          { field: "raw.curve", in: ["p256"] },
          { field: "export.form", in: ["mnemonic"] },
        ],
      }),
    ],
    [
      "a list of another kind",
      deny(
        "it",
        { some: "outputs", is: [{ field: "output.isChange", is: true }] },
        { field: "kind", in: ["raw-digest"] },
      ),
    ],
  ])("%s", (_name, rule) => {
    expect(codesOf(rule, allow("other", { field: "evm.nonce", in: ["0"] }))).toEqual([["NEVER_MATCHES", "it"]]);
  });

  test.each<[string, Rule]>([
    [
      "a rule that denies what cannot be told",
      deny("it", { field: "chain", in: ["eip155:1"] }, { field: "chain", in: ["eip155:10"] }),
    ],
    [
      "one of two",
      allow("it", {
        any: [
          { field: "evm.nonce", in: ["1"] },
          { field: "bitcoin.fee", atMost: "5" },
        ],
      }),
    ],
    [
      "addresses in two cases",
      allow("it", { field: "evm.to", in: [BOB] }, { field: "evm.to", in: [BOB.toLowerCase()] }),
    ],
    ["a digest that is named", allow("it", { field: "kind", in: ["raw-digest"] })],
  ])("not %s", (_name, rule) => {
    expect(codesOf(rule, allow("other", { field: "evm.nonce", in: ["0"] }))).toEqual([]);
  });
});

test("SHADOWED: by a rule that denies all of it, by one that allows all of it for nothing, by a twin once", () => {
  const small = { field: "evm.value", atMost: "5" } as const;
  const chain = { field: "chain", in: ["eip155:1"] } as const;
  expect(codesOf(allow("a", small, chain), deny("d", chain))).toContainEqual(["SHADOWED", "a"]);
  expect(codesOf(allow("a", small, chain), allow("b", chain))).toEqual([["SHADOWED", "a"]]);
  expect(codesOf(allow("a", chain), allow("b", chain))).toEqual([["SHADOWED", "b"]]);
  expect(codesOf(allow("a", small), deny("d", chain), deny("e", chain, small))).toEqual([["SHADOWED", "e"]]);
  const limits = [{ asset: "value", amount: "1", windowS: 60, per: "user" }] as const;
  const limited: Rule = { ...(allow("limited", chain) as Extract<Rule, { effect: "allow" }>), limits };
  expect(codesOf(limited, allow("free", chain))).toEqual([["SHADOWED", "limited"]]);
  expect(codesOf(limited, allow("other", small))).toEqual([]);
});

test("ALLOWS_EVERYTHING, ALLOWS_NOTHING, CHECKSUM_WRONG, DOES_NOT_COMPILE", () => {
  expect(codesOf(allow("all"))).toEqual([["ALLOWS_EVERYTHING", "all"]]);
  expect(codesOf(deny("none"))).toEqual([["ALLOWS_NOTHING", null]]);
  const wrong = BOB.replace("d8dA", "d8da");
  expect(codesOf(allow("it", { field: "evm.to", in: [wrong] }))).toEqual([["CHECKSUM_WRONG", "it"]]);
  expect(codesOf(allow("it", { field: "evm.to", in: [BOB, BOB.toLowerCase()] }))).toEqual([]);
  expect(codesOf(allow("it", { call: "transfer(address,uint)" }))).toEqual([["DOES_NOT_COMPILE", null]]);
});

test("without a rule that is certain to decide nothing, every decision is the same", () => {
  let found = 0;
  fc.assert(
    fc.property(anyRules, fc.array(anyFacts, { minLength: 1, maxLength: 12 }), (rules, all) => {
      const document: Policy = documentOf(...rules);
      for (const { code, rule } of lintPolicy(document)) {
        if (code !== "NEVER_MATCHES" && code !== "SHADOWED") continue;
        found += 1;
        const without = { v: 1, rules: rules.filter(({ id }) => id !== rule) } as const;
        for (const facts of all) {
          const [before, after] = [document, without].map((each) => {
            return decide(new Evaluation(requestFor(facts)), [{ level: "app", policy: compilePolicy(each) }]).kind;
          });
          expect(after, `${code} ${rule}`).toBe(before);
        }
      }
    }),
    { numRuns: 2000 },
  );
  // A property that finds nothing to hold would hold of anything.
  expect(found).toBeGreaterThan(200);
});
