/** Faults that a statement shows by itself: who and what it names, and where. */
import { DESCRIPTION_ACTIONS, KEY_ACTIONS, KEYLESS_ACTIONS, TAGGING_ACTIONS } from "./actions.ts";
import type { Report } from "./findings.ts";
import type { Located, PrincipalPart, StatementTree } from "./policy-tree.ts";
import { hasWildcard, matchesPattern } from "./wildcard.ts";

const ALL_ACTIONS = [...KEY_ACTIONS, ...KEYLESS_ACTIONS].map((action) => action.toLowerCase());
const HARMLESS: readonly string[] = [...DESCRIPTION_ACTIONS, ...TAGGING_ACTIONS];
const DANGEROUS = KEY_ACTIONS.filter((action) => !HARMLESS.includes(action));

export function lintShape(statement: StatementTree, keyArn: string | null, report: Report): void {
  const { effect, label, principals, actions, resources } = statement;
  if (principals.isNegated) {
    const code = effect === "Allow" ? "NOT_PRINCIPAL_ALLOW" : "NOT_PRINCIPAL_DENY";
    report(code, principals.at, `NotPrincipal with ${effect}`, label);
  }
  for (const principal of principals.items) lintPrincipal(principal, statement, report);
  if (actions.isNegated && effect === "Allow") report("NOT_ACTION_ALLOW", actions.at, "NotAction with Allow", label);
  for (const action of actions.items) lintAction(action, statement, report);
  if (resources.isNegated) report("NOT_RESOURCE", resources.at, "NotResource", label);
  for (const resource of resources.items) lintResource(resource, label, keyArn, report);
}

function lintPrincipal(
  { type, value, at }: PrincipalPart,
  { effect, label, principals }: StatementTree,
  report: Report,
) {
  if (type !== "AWS") return;
  if (value === "*") {
    if (effect === "Allow" && !principals.isNegated) report("WILDCARD_PRINCIPAL", at, 'Allow to "*"', label);
  } else if (hasWildcard(value)) {
    report("PARTIAL_WILDCARD_PRINCIPAL", at, `${JSON.stringify(value)} is no pattern`, label);
  } else if (/^A[A-Z]{3}[A-Z0-9]{12,}$/.test(value)) {
    report("DELETED_PRINCIPAL", at, `${value} is the id of a principal that was deleted`, label);
  } else if (/^arn:[a-z-]+:sts::[0-9]{12}:assumed-role\//.test(value)) {
    report("SESSION_PRINCIPAL", at, `${value} is one session's ARN`, label);
  } else if (!/^(?:[0-9]{12}|arn:[a-z-]+:(?:iam|sts)::[0-9]{12}:.+)$/.test(value)) {
    report("MALFORMED_POLICY", at, `Principal: ${JSON.stringify(value)} is no account and no ARN`, label);
  }
}

function lintAction({ value, at }: Located, { effect, label, actions }: StatementTree, report: Report): void {
  const pattern = value.toLowerCase();
  const matched = ALL_ACTIONS.filter((action) => matchesPattern(pattern, action));
  if (matched.length === 0) {
    report("UNKNOWN_ACTION", at, `${JSON.stringify(value)} is no action of KMS`, label);
    return;
  }
  if (matched.every((action) => KEYLESS_ACTIONS.some((keyless) => keyless.toLowerCase() === action))) {
    report("ACTION_WITHOUT_KEY", at, `${value} names no key`, label);
  }
  if (effect === "Deny" || actions.isNegated || !hasWildcard(value)) return;
  const dangerous = DANGEROUS.filter((action) => matchesPattern(pattern, action.toLowerCase()));
  if (dangerous.length > 0) report("WILDCARD_ACTION", at, `${value} allows ${shortList(dangerous)}`, label);
}

function lintResource({ value, at }: Located, label: string, keyArn: string | null, report: Report): void {
  if (value === "*") return;
  if (/^arn:[^:]*:kms:[^:]*:[^:]*:alias/.test(value)) {
    report("RESOURCE_ALIAS", at, `${value} is an alias`, label);
  } else if (!value.startsWith("arn:")) {
    report("MALFORMED_POLICY", at, `Resource: expected "*" or an ARN, got ${JSON.stringify(value)}`, label);
  } else if (keyArn === null || !matchesPattern(value, keyArn)) {
    const known = keyArn === null ? "is not compared with the key" : `does not match ${keyArn}`;
    report("RESOURCE_NARROWED", at, `${value} ${known}`, label);
  }
}

export function shortList(items: readonly string[]): string {
  const shown = items.slice(0, 4).join(", ");
  return items.length > 4 ? `${shown} and ${items.length - 4} more` : shown;
}
