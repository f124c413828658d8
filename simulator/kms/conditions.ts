/** Conditions of a statement (IAM User Guide, "Condition operators" and "Multivalued context keys"). */
import { absenceIsCertain } from "./condition-keys.ts";
import { type ConditionOperator, conditionOperator } from "./condition-operators.ts";
import type { Condition } from "./policy-document.ts";
import { expandVariables } from "./policy-variables.ts";
import type { PatternPiece } from "./wildcard.ts";

/** By lower-case name, for IAM does not tell case in key names. A key that is absent from a request is not in it. */
export type RequestContext = ReadonlyMap<string, readonly string[]>;

/** `unresolved`: not known to be true or false, so the statement must fail closed. */
export type ConditionResult = "met" | "unmet" | "unresolved";

export interface ConditionScope {
  readonly context: RequestContext;
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  /** Whether `${…}` is a variable: in policies of 2012-10-17, not in older ones. */
  readonly variables: boolean;
}

export function resolveCondition({ operator, key, values: wanted }: Condition, scope: ConditionScope): ConditionResult {
  const name = key.toLowerCase();
  const values = scope.context.get(name);
  if (values === undefined && !absenceIsCertain(name, scope.action)) return "unresolved";
  if (operator === "Null") return resolveNull(values, wanted);

  const [, setOperator, base = "", ifExists] =
    /^(?:(ForAllValues|ForAnyValue):)?(.+?)(IfExists)?$/.exec(operator) ?? [];
  const test = conditionOperator(base);
  if (test === undefined) return "unresolved";
  if (values === undefined) {
    if (ifExists !== undefined || setOperator === "ForAllValues") return "met";
    return test.negated && setOperator === undefined ? "met" : "unmet";
  }
  const expanded = expand(wanted, test, scope);
  if (expanded === null) return "unresolved";
  const results = values.map((value) => passes(value, expanded, test));
  if (results.includes(null)) return "unresolved";
  switch (setOperator) {
    case "ForAllValues":
      return results.every((passed) => passed) ? "met" : "unmet";
    case "ForAnyValue":
      return results.some((passed) => passed) ? "met" : "unmet";
    default:
      // IAM leaves open how several values meet an operator for one.
      if (results.length !== 1) return "unresolved";
      return results[0] === true ? "met" : "unmet";
  }
}

function passes(value: string, wanted: readonly (readonly PatternPiece[])[], test: ConditionOperator): boolean | null {
  const matches = wanted.map((one) => test.matches(value, one));
  return matches.includes(null) ? null : matches.includes(true) !== test.negated;
}

function expand(
  wanted: readonly string[],
  { takesVariables }: ConditionOperator,
  { variables, context }: ConditionScope,
): PatternPiece[][] | null {
  const expanded = wanted.map((text) => {
    return takesVariables && variables ? expandVariables(text, context) : [{ text, literal: false }];
  });
  return expanded.some((pieces) => pieces === null) ? null : expanded.filter((pieces) => pieces !== null);
}

/** `Null: true` asks that the key be absent, `Null: false` that it be there. */
function resolveNull(values: readonly string[] | undefined, wanted: readonly string[]): ConditionResult {
  const [absent, ...others] = wanted.map((value) => value.toLowerCase());
  if (others.length > 0 || (absent !== "true" && absent !== "false")) return "unresolved";
  return (values === undefined) === (absent === "true") ? "met" : "unmet";
}
