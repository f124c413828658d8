/** Off by default: what a rule must say before it allows digests of which nothing is known. */
import { describe, expect, test } from "vitest";
import { decide } from "../../../enclave/policy/decide.ts";
import type { RawDigestFacts } from "../../../enclave/policy/facts.ts";
import { namesRawDigests } from "../../../enclave/policy/raw-digests.ts";
import type { Condition } from "../../../protocol/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";

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

const facts: RawDigestFacts = {
  ...{ kind: "raw-digest", curve: "secp256k1", scheme: "ecdsa", from: "0x", digest: new Uint8Array(32) },
};

test("a policy that allows everything denies them, and one that names them does not", () => {
  expect(decide(facts, ALLOW_ALL)).toMatchObject({ kind: "deny" });
  expect(decide(facts, null)).toMatchObject({ kind: "deny" });
  const naming = { v: 1, rules: [{ id: "raw", effect: "allow", when: [isRaw] }] } as const;
  expect(decide(facts, naming)).toEqual({ kind: "allow" });
});
