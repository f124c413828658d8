/** Conditions of a statement (IAM User Guide, "Condition operators" and "Multivalued context keys"). */
import type { Condition } from "./policy-document.ts";
import { matchesWildcard } from "./wildcard.ts";

/** By lower-case name, for IAM does not tell case in key names. A key that is absent from a request is not in it. */
export type RequestContext = ReadonlyMap<string, readonly string[]>;

/** `unresolved`: not known to be true or false, so the statement must fail closed. */
export type ConditionResult = "met" | "unmet" | "unresolved";

type ValueTest = (value: string, wanted: string) => boolean;

const VALUE_TESTS: ReadonlyMap<string, { readonly matches: ValueTest; readonly negated: boolean }> = new Map([
  ["StringEquals", { matches: equal, negated: false }],
  ["StringNotEquals", { matches: equal, negated: true }],
  ["StringEqualsIgnoreCase", { matches: equalIgnoringCase, negated: false }],
  ["StringNotEqualsIgnoreCase", { matches: equalIgnoringCase, negated: true }],
  ["StringLike", { matches: like, negated: false }],
  ["StringNotLike", { matches: like, negated: true }],
  ["Bool", { matches: equalIgnoringCase, negated: false }],
]);

const FIXED_KEYS = new Set([
  "kms:recipientattestation:imagesha384",
  "kms:encryptioncontextkeys",
  "kms:calleraccount",
  "aws:principalarn",
  "aws:securetransport",
]);

/** Whether the simulator fills this key when the request has it; of any other, absence would say nothing. */
function isKnownKey(key: string): boolean {
  const pcr = /^kms:recipientattestation:pcr(0|[1-9][0-9]?)$/.exec(key)?.[1];
  if (pcr !== undefined) return Number(pcr) <= 31;
  return FIXED_KEYS.has(key) || /^kms:encryptioncontext:./s.test(key);
}

export function resolveCondition(
  { operator, key, values: wanted }: Condition,
  context: RequestContext,
): ConditionResult {
  const name = key.toLowerCase();
  if (!isKnownKey(name)) return "unresolved";
  const values = context.get(name);
  if (operator === "Null") return resolveNull(values, wanted);

  const [, setOperator, base = "", ifExists] =
    /^(?:(ForAllValues|ForAnyValue):)?(.+?)(IfExists)?$/.exec(operator) ?? [];
  const test = VALUE_TESTS.get(base);
  if (test === undefined) return "unresolved";
  const passes = (value: string) => wanted.some((one) => test.matches(value, one)) !== test.negated;

  if (values === undefined) {
    if (ifExists !== undefined || setOperator === "ForAllValues") return "met";
    return test.negated && setOperator === undefined ? "met" : "unmet";
  }
  switch (setOperator) {
    case "ForAllValues":
      return values.every(passes) ? "met" : "unmet";
    case "ForAnyValue":
      return values.some(passes) ? "met" : "unmet";
    default: {
      const [value, ...others] = values;
      // IAM leaves open how several values meet an operator for one.
      if (value === undefined || others.length > 0) return "unresolved";
      return passes(value) ? "met" : "unmet";
    }
  }
}

/** `Null: true` asks that the key be absent, `Null: false` that it be there. */
function resolveNull(values: readonly string[] | undefined, wanted: readonly string[]): ConditionResult {
  const [absent, ...others] = wanted.map((value) => value.toLowerCase());
  if (others.length > 0 || (absent !== "true" && absent !== "false")) return "unresolved";
  return (values === undefined) === (absent === "true") ? "met" : "unmet";
}

function equal(value: string, wanted: string): boolean {
  return value === wanted;
}

function equalIgnoringCase(value: string, wanted: string): boolean {
  return value.toLowerCase() === wanted.toLowerCase();
}

function like(value: string, pattern: string): boolean {
  return matchesWildcard(pattern, value);
}
