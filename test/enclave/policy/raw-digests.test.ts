/** Off by default: what a rule must say before it allows digests of which nothing is known. */
import { describe, expect, test } from "vitest";
import { namesRawDigests } from "../../../enclave/policy/raw-digests.ts";
import type { Condition } from "../../../protocol/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";
import { ALL_FACTS, allow, deny, judge, SAMPLES } from "./requests.ts";

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
    expect(namesRawDigests({ when })).toBe(true);
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
    expect(namesRawDigests({ when })).toBe(false);
  });
});

test("a policy that allows everything denies them, and one that names them does not", () => {
  const facts = SAMPLES["raw-digest"];
  expect(judge(facts, ALLOW_ALL.rules)).toMatchObject({ kind: "denied", reason: "NOT_ALLOWED" });
  expect(judge(facts, [allow("raw", isRaw)])).toMatchObject({ kind: "open" });
  // What denies need not name them.
  expect(judge(facts, [allow("raw", isRaw), deny("all")])).toMatchObject({ kind: "denied", reason: "DENIED_BY_RULE" });
});

test("every other kind is allowed by what allows everything", () => {
  for (const facts of ALL_FACTS.filter(({ kind }) => kind !== "raw-digest")) {
    expect(judge(facts, ALLOW_ALL.rules)).toMatchObject({ kind: "open" });
  }
});
