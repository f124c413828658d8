/** Off by default: what a rule must say before it allows digests of which nothing is known. */
import { describe, expect, test } from "vitest";
import type { Condition } from "../../../protocol/index.ts";
import { ALL_FACTS, allow, allows, deny, judge, SAMPLES } from "./requests.ts";

const facts = SAMPLES["raw-digest"];
const isRaw: Condition = { field: "kind", in: ["raw-digest"] };

describe("a rule allows them", () => {
  test.each<[string, readonly Condition[]]>([
    ["by their kind", [isRaw]],
    ["by their kind among others", [{ field: "kind", in: ["evm-message", "raw-digest"] }]],
    ["by their kind, beside other conditions", [{ field: "raw.scheme", in: ["ecdsa"] }, isRaw]],
  ])("%s", (_how, when) => {
    expect(allows(facts, when)).toBe(true);
  });

  test.each<[string, readonly Condition[]]>([
    ["not where it allows everything", []],
    ["not by what they are not", [{ not: { field: "kind", in: ["evm-message"] } }]],
    ["not by the denial of their denial", [{ not: { not: isRaw } }]],
    ["not by the beginning of a kind", [{ field: "kind", startsWith: "raw" }]],
    ["not in one branch of any alone", [{ any: [isRaw, { field: "wallet", startsWith: "wal_" }] }]],
    ["not by their operation", [{ field: "operation", in: ["sign_transaction", "sign_digest"] }]],
    ["not by another scheme", [isRaw, { field: "raw.scheme", in: ["schnorr"] }]],
  ])("%s", (_how, when) => {
    expect(allows(facts, when)).toBe(false);
  });
});

test("a policy that allows everything denies them, and one that names them does not", () => {
  expect(judge(facts, [allow("everything")])).toMatchObject({ kind: "denied", reason: "NOT_ALLOWED" });
  expect(judge(facts, [allow("raw", isRaw)])).toMatchObject({ kind: "open" });
  // What denies need not name them.
  expect(judge(facts, [allow("raw", isRaw), deny("all")])).toMatchObject({ kind: "denied", reason: "DENIED_BY_RULE" });
  const understood = ALL_FACTS.filter(({ kind }) => kind !== "raw-digest" && kind !== "wallet-export");
  for (const each of understood) expect(judge(each, [allow("everything")])).toMatchObject({ kind: "open" });
});
