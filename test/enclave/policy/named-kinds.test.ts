/** Off by default: what a rule must say before it allows digests of which nothing is known, or a secret to leave. */
import { describe, expect, test } from "vitest";
import { compilePolicy } from "../../../enclave/policy/compile.ts";
import { decide } from "../../../enclave/policy/decide.ts";
import { Evaluation } from "../../../enclave/policy/evaluation.ts";
import { mayAllow } from "../../../enclave/policy/named-kinds.ts";
import type { Condition, Policy } from "../../../protocol/index.ts";
import { requestFor, SAMPLES } from "./requests.ts";

const EVERYTHING: Policy = { v: 1, rules: [{ id: "everything", effect: "allow", when: [] }] };
const isRaw: Condition = { field: "kind", in: ["raw-digest"] };
const isMessage: Condition = { field: "kind", in: ["evm-message"] };

describe("a rule names them", () => {
  test.each<[string, readonly Condition[]]>([
    ["by their kind", [isRaw]],
    ["by their kind among others", [{ field: "kind", in: ["evm-message", "raw-digest"] }]],
    ["by a field of theirs", [{ field: "raw.scheme", in: ["schnorr"] }]],
    ["beside other conditions", [{ field: "chain", in: ["eip155:1"] }, isRaw]],
    ["inside all", [{ all: [isRaw, { field: "raw.curve", in: ["p256"] }] }]],
    ["in each branch of any", [{ any: [isRaw, { field: "raw.curve", in: ["p256"] }] }]],
  ])("%s", (_how, when) => {
    expect(mayAllow({ effect: "allow", when }, "raw-digest")).toBe(true);
  });

  test.each<[string, readonly Condition[]]>([
    ["not where it allows everything", []],
    ["not by another kind", [isMessage]],
    ["not in one branch of any alone", [{ any: [isRaw, isMessage] }]],
    ["not by what they are not", [{ not: isMessage }]],
    ["not even by the denial of their denial", [{ not: { not: isRaw } }]],
    ["not by when it is", [{ timeOfDay: ["08:00", "18:00"] }]],
    ["not by the beginning of a kind", [{ field: "kind", startsWith: "raw" }]],
  ])("%s", (_how, when) => {
    expect(mayAllow({ effect: "allow", when }, "raw-digest")).toBe(false);
  });
});

const verdictOf = (kind: "raw-digest" | "wallet-export" | "evm-message", policy: Policy) =>
  decide(new Evaluation(requestFor(SAMPLES[kind])), [{ level: "app", policy: compilePolicy(policy) }]).kind;

test.each(["raw-digest", "wallet-export"] as const)(
  "a policy that allows everything denies %s, and one that names it does not",
  (kind) => {
    expect(verdictOf(kind, EVERYTHING)).toBe("denied");
    expect(
      verdictOf(kind, { v: 1, rules: [{ id: "it", effect: "allow", when: [{ field: "kind", in: [kind] }] }] }),
    ).toBe("open");
    expect(verdictOf("evm-message", EVERYTHING)).toBe("open");
  },
);

test("a secret to leave is named by a field of exports", () => {
  expect(mayAllow({ effect: "allow", when: [{ field: "export.form", in: ["keystore-v3"] }] }, "wallet-export")).toBe(
    true,
  );
  expect(mayAllow({ effect: "allow", when: [{ field: "export.form", in: ["keystore-v3"] }] }, "raw-digest")).toBe(
    false,
  );
});
