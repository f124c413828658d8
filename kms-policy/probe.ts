/**
 * What a policy answers, as far as it can be known without the request: the linter asks it about callers and documents
 * that stand for all others. Where something stays open an Allow may hold and a Deny may not: so no hole is missed.
 */
import { ATTESTABLE_ACTIONS } from "./actions.ts";
import { isNegated, meaningOfKey, type Operator, parseOperator } from "./condition-keys.ts";
import type { ConditionPart, PolicyTree, PrincipalPart, StatementTree } from "./policy-tree.ts";
import { hasWildcard, matchesPattern } from "./wildcard.ts";

export interface Caller {
  readonly type: string;
  /** As a policy would name it: an ARN or a service. */
  readonly name: string;
  /** What `aws:PrincipalArn` holds; null for services. */
  readonly principalArn: string | null;
  readonly account: string | null;
}

/** PCR values; those not named are {@link OTHER_VALUE}. Null: no document. */
export type ProbeDocument = ReadonlyMap<number, string> | null;

export interface Probe {
  readonly caller: Caller;
  readonly action: string;
  readonly document: ProbeDocument;
}

export type Truth = "yes" | "no" | "maybe";

/** Stands for every value that no policy names. */
const OTHER_VALUE = "c105fe12".repeat(12);
/** Stands for everybody whom no policy names. */
const ANYBODY_NAME = "any-other-role";

export function callerOf({ type, value }: Pick<PrincipalPart, "type" | "value">): Caller {
  const [, account] = /^arn:[a-z-]+:(?:iam|sts)::([0-9]{12}):/.exec(value) ?? [];
  if (type !== "AWS" || account === undefined) return { type, name: value, principalArn: null, account: null };
  const session = /^(arn:[a-z-]+):sts::([0-9]{12}):assumed-role\/([^/]+)\//.exec(value);
  const principalArn = session === null ? value : `${session[1]}:iam::${session[2]}:role/${session[3]}`;
  return { type, name: value, principalArn, account };
}

/** Everybody whom the policy names, and somebody whom it does not, in each account that it names. */
export function callersOf({ statements }: PolicyTree): { readonly all: readonly Caller[]; readonly others: Caller[] } {
  const parts = statements.flatMap(({ principals }) => principals.items);
  const named = parts
    .filter(({ type, value }) => type !== "AWS" || /^arn:/.test(value))
    .filter((p) => !hasWildcard(p.value));
  const fromConditions = statements
    .flatMap(({ conditions }) => conditions)
    .filter(({ key }) => meaningOfKey(key.value).kind === "principal-arn")
    .flatMap(({ values }) => values)
    .filter(({ value }) => /^arn:/.test(value) && !hasWildcard(value))
    .map(({ value }) => ({ type: "AWS", value }));
  const callers = new Map([...named, ...fromConditions].map((part) => [part.value, callerOf(part)]));
  const digits = parts.map(({ value }) => value).filter((value) => /^[0-9]{12}$/.test(value));
  const accounts = new Set([...[...callers.values()].flatMap(({ account }) => account ?? []), ...digits]);
  if (accounts.size === 0) accounts.add("000000000000");
  const others = [...accounts].map((account) =>
    callerOf({ type: "AWS", value: `arn:aws:iam::${account}:role/${ANYBODY_NAME}` }),
  );
  return { all: [...callers.values(), ...others], others };
}

/** For a message: the caller who stands for all others is not somebody with a name. */
export function describeCaller({ name, account }: Caller): string {
  return name.endsWith(`:role/${ANYBODY_NAME}`) ? `any principal of account ${account}` : name;
}

/** Whether a statement names the caller by himself, not by his account or as anybody. */
export function namesHimself({ principals }: StatementTree, caller: Caller): boolean {
  return principals.items.some(({ value }) => value === caller.name && !/:root$/.test(value));
}

export function namesAccount({ type, value }: PrincipalPart): boolean {
  return type === "AWS" && (/^[0-9]{12}$/.test(value) || /^arn:[a-z-]+:iam::[0-9]{12}:root$/.test(value));
}

export function namesCaller({ principals }: StatementTree, caller: Caller): boolean {
  const isNamed = principals.items.some((part) => {
    if (part.type === "AWS" && part.value === "*") return true;
    if (part.type !== caller.type) return false;
    if (namesAccount(part)) return /[0-9]{12}/.exec(part.value)?.[0] === caller.account;
    return part.value === caller.name || part.value === caller.principalArn;
  });
  return isNamed !== principals.isNegated;
}

export function coversAction({ actions }: StatementTree, action: string): boolean {
  const name = action.toLowerCase();
  return actions.items.some(({ value }) => matchesPattern(value.toLowerCase(), name)) !== actions.isNegated;
}

/** @param keyArn - Null: not known, so that no ARN can be said to be the key's. */
export function coversKey({ resources }: StatementTree, keyArn: string | null): Truth {
  if (resources.isNegated) return "maybe";
  const truths = resources.items.map(({ value }): Truth => {
    if (value === "*") return "yes";
    if (keyArn !== null) return matchesPattern(value, keyArn) ? "yes" : "no";
    return /^arn:[^:]*:kms:[^:]*:[^:]*:alias/.test(value) ? "no" : "maybe";
  });
  return truths.includes("yes") ? "yes" : truths.includes("maybe") ? "maybe" : "no";
}

export function conditionsHold({ conditions }: StatementTree, probe: Probe): Truth {
  const truths = conditions.map((condition) => conditionHolds(condition, probe));
  return truths.includes("no") ? "no" : truths.includes("maybe") ? "maybe" : "yes";
}

function conditionHolds({ operator: { value: text }, key, values }: ConditionPart, probe: Probe): Truth {
  const operator = parseOperator(text);
  const found = keyValueOf(key.value, probe);
  if (operator === null || found === "maybe") return "maybe";
  const wanted = values.map(({ value }) => value);
  if (operator.base === "Null") {
    return wanted.some((one) => (one.toLowerCase() === "true") === (found === null)) ? "yes" : "no";
  }
  if (found === null) {
    if (operator.ifExists || operator.set === "ForAllValues") return "yes";
    return isNegated(operator) && operator.set === null ? "yes" : "no";
  }
  const equal = equality(operator);
  if (equal === null) return "maybe";
  return wanted.some((one) => equal(found, one)) !== isNegated(operator) ? "yes" : "no";
}

/** Null: the request does not have the key. */
function keyValueOf(key: string, { caller, action, document }: Probe): string | null | "maybe" {
  const meaning = meaningOfKey(key);
  switch (meaning.kind) {
    case "pcr":
      if (document === null || !ATTESTABLE_ACTIONS.has(action)) return null;
      return document.get(meaning.index) ?? OTHER_VALUE;
    case "nitro-tpm":
    case "unknown":
      return null;
    case "principal-arn":
      return caller.principalArn;
    case "account":
      return caller.account ?? "maybe";
    case "is-service":
      return String(caller.type === "Service");
    case "other":
      return "maybe";
  }
}

function equality({ base }: Operator): ((value: string, wanted: string) => boolean) | null {
  switch (base) {
    case "StringEquals":
    case "StringNotEquals":
      return (value, wanted) => value === wanted;
    case "StringEqualsIgnoreCase":
    case "StringNotEqualsIgnoreCase":
    case "Bool":
      return (value, wanted) => value.toLowerCase() === wanted.toLowerCase();
    case "StringLike":
    case "StringNotLike":
    // Close enough: IAM compares the six parts of an ARN one by one.
    case "ArnEquals":
    case "ArnNotEquals":
    case "ArnLike":
    case "ArnNotLike":
      return (value, wanted) => matchesPattern(wanted, value);
    default:
      return null;
  }
}
