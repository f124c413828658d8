/** Faults of single conditions: operators, keys and values that do not mean what they seem to. */
import { isNegated, type KeyMeaning, meaningOfKey, type Operator, parseOperator } from "./condition-keys.ts";
import type { Report } from "./findings.ts";
import type { ConditionPart, Located, StatementTree } from "./policy-tree.ts";

export function lintConditions(statement: StatementTree, report: Report): void {
  for (const condition of statement.conditions) lintCondition(condition, statement, report);
}

function lintCondition(condition: ConditionPart, statement: StatementTree, report: Report): void {
  const { operator: written, key, values } = condition;
  const { label } = statement;
  const operator = parseOperator(written.value);
  if (operator === null) {
    report("UNKNOWN_OPERATOR", written.at, `${JSON.stringify(written.value)} is no condition operator`, label);
  }
  if (values.length === 0) report("EMPTY_CONDITION", key.at, `${key.value} has no value`, label);
  const meaning = meaningOfKey(key.value);
  if (meaning.kind === "unknown") {
    report("UNKNOWN_CONDITION_KEY", key.at, `${JSON.stringify(key.value)} is no condition key of KMS`, label);
  } else if (meaning.kind === "nitro-tpm") {
    report("NITRO_TPM_KEY", key.at, `${key.value} is not filled by enclaves`, label);
  } else if (meaning.kind === "pcr" && operator !== null) {
    if (key.value !== meaning.canonical) {
      report("CONDITION_KEY_CASE", key.at, `${key.value} is written ${meaning.canonical}`, label);
    }
    lintPcrOperator(operator, condition, statement, report);
    if (operator.base !== "Null") for (const value of values) lintPcr(value, meaning, operator, statement, report);
  }
}

function lintPcrOperator(operator: Operator, condition: ConditionPart, statement: StatementTree, report: Report): void {
  const { effect, label } = statement;
  const { at, value: name } = condition.operator;
  const key = condition.key.value;
  const holds = `${name} holds for a request without ${key}`;
  if (operator.base !== "Null" && !operator.base.startsWith("String")) {
    report("WRONG_OPERATOR_TYPE", at, `${name} compares no text`, label);
  }
  if (operator.ifExists) report(effect === "Allow" ? "IF_EXISTS_ALLOW" : "IF_EXISTS_DENY", at, holds, label);
  if (operator.set === "ForAllValues" && effect === "Allow") report("FOR_ALL_VALUES_ALLOW", at, holds, label);
  if (operator.set === "ForAnyValue" && effect === "Deny" && !operator.ifExists) {
    report("FOR_ANY_VALUE_DENY", at, `${name} does not hold for a request without ${key}`, label);
  }
}

function lintPcr(
  { at, value }: Located,
  { index }: Extract<KeyMeaning, { kind: "pcr" }>,
  operator: Operator,
  { effect, label }: StatementTree,
  report: Report,
): void {
  if (operator.base.endsWith("Like") && /[*?]/.test(value)) {
    report("PCR_PATTERN", at, `PCR${index}: ${JSON.stringify(value)} is a pattern`, label);
  } else if (!/^[0-9a-f]{96}$/i.test(value)) {
    const why = /^[0-9a-f]*$/i.test(value) ? `${value.length} hex digits` : "not hex";
    report("PCR_MALFORMED", at, `PCR${index}: expected 96 hex digits, got ${value.length} characters, ${why}`, label);
  } else if (/^0+$/.test(value)) {
    // A Deny by a positive operator that names zeros keeps debug enclaves out.
    if (effect === "Allow" || isNegated(operator)) report("ZERO_PCR", at, `PCR${index} is all zeros`, label);
  } else if (/[A-F]/.test(value) && !operator.base.endsWith("IgnoreCase")) {
    report("PCR_CASE", at, `PCR${index}: ${operator.base} with upper-case hex`, label);
  }
}
