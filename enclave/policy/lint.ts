/**
 * What in a document cannot mean what was meant. `NEVER_MATCHES` and `SHADOWED` are proven: no request is decided by such
 * a rule, whatever it is. What is not found may be so all the same.
 */
import { isDeepStrictEqual } from "node:util";
import { type Condition, type Policy, RequestError, type Rule } from "../../protocol/index.ts";
import { checksummed } from "../signing/ethereum-address.ts";
import { compilePolicy, demandOf, kindsOfAll } from "./compile.ts";
import { mayAllow } from "./named-kinds.ts";
import { speaksOfSighashes } from "./open-signatures.ts";
import { normalized } from "./value-tests.ts";

export type PolicyFindingCode =
  | "DOES_NOT_COMPILE"
  | "NEVER_MATCHES"
  | "SHADOWED"
  | "ALLOWS_NOTHING"
  | "ALLOWS_EVERYTHING"
  | "CHECKSUM_WRONG";

export interface PolicyFinding {
  readonly severity: "error" | "warning";
  readonly code: PolicyFindingCode;
  /** Null for what is of the whole document. */
  readonly rule: string | null;
  readonly message: string;
}

export function lintPolicy(document: Policy): readonly PolicyFinding[] {
  try {
    compilePolicy(document);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return [{ severity: "error", code: "DOES_NOT_COMPILE", rule: null, message: error.message }];
  }
  const never = new Map(document.rules.map((rule) => [rule, whyNever(rule)]));
  const living = document.rules.filter((rule) => never.get(rule) === null);
  const findings: PolicyFinding[] = document.rules.flatMap((rule) => {
    const { id } = rule;
    const why = never.get(rule) ?? null;
    if (why !== null) return [{ severity: "error" as const, code: "NEVER_MATCHES" as const, rule: id, message: why }];
    const shadow = shadowOf(rule, living);
    return [...shadow, ...(shadow.length > 0 ? [] : broadnessOf(rule)), ...checksumsOf(rule)];
  });
  if (!living.some(({ effect }) => effect === "allow")) {
    const message = "no rule can allow anything: whatever this document binds signs nothing";
    findings.push({ severity: "warning", code: "ALLOWS_NOTHING", rule: null, message });
  }
  return findings;
}

/** Null unless it is certain. */
function whyNever(rule: Rule): string | null {
  const kinds = [...kindsOfAll(rule.when)];
  if (kinds.length === 0) return "its conditions are of different kinds of things: nothing has all of these facts";
  if (!kinds.some((kind) => mayAllow(rule, kind))) return `it would have to name the kind: ${kinds.join(", ")}`;
  // A rule that denies holds of what cannot be told as well, so a contradiction does not settle it.
  return rule.effect === "allow" ? contradictionOf(rule.when) : null;
}

interface Bounds {
  texts: ReadonlySet<string> | null;
  atLeast: bigint;
  atMost: bigint | null;
}

/** Between conditions on the same single value that all must hold. */
function contradictionOf(conditions: readonly Condition[]): string | null {
  const bounds = new Map<string, Bounds>();
  for (const each of conditions.flatMap(flatten)) {
    if ("between" in each && Date.parse(each.between[0]) >= Date.parse(each.between[1])) {
      return "a time that is over before it begins";
    }
    if (!("field" in each) || "is" in each) continue;
    const before = bounds.get(each.field) ?? { texts: null, atLeast: 0n, atMost: null };
    const named = each.in === undefined ? null : new Set(each.in.map(normalized));
    const atLeast = "atLeast" in each && each.atLeast !== undefined ? BigInt(each.atLeast) : 0n;
    const atMost = "atMost" in each && each.atMost !== undefined ? BigInt(each.atMost) : null;
    const next: Bounds = {
      texts: intersection(before.texts, named),
      atLeast: atLeast > before.atLeast ? atLeast : before.atLeast,
      atMost: atMost === null || (before.atMost !== null && before.atMost < atMost) ? before.atMost : atMost,
    };
    bounds.set(each.field, next);
    if (next.texts?.size === 0) return `${each.field} would have to be two things at once`;
    if (next.atMost !== null && next.atLeast > next.atMost)
      return `${each.field} would have to be over its own maximum`;
    const isNumber = next.atLeast > 0n || next.atMost !== null;
    if (isNumber && next.texts !== null && ![...next.texts].some((text) => isWithin(text, next))) {
      return `${each.field} would have to be outside its bounds`;
    }
  }
  return null;
}

function flatten(condition: Condition): readonly Condition[] {
  return "all" in condition ? condition.all.flatMap(flatten) : [condition];
}

function intersection(
  first: ReadonlySet<string> | null,
  second: ReadonlySet<string> | null,
): ReadonlySet<string> | null {
  if (first === null || second === null) return first ?? second;
  return new Set([...first].filter((each) => second.has(each)));
}

function isWithin(text: string, { atLeast, atMost }: Bounds): boolean {
  return BigInt(text) >= atLeast && (atMost === null || BigInt(text) <= atMost);
}

/** A rule whose conditions are all among another's holds wherever that one does. */
function shadowOf(rule: Rule, living: readonly Rule[]): readonly PolicyFinding[] {
  const wider = living.filter(
    (each) => each !== rule && each.when.every((condition) => includes(rule.when, condition)),
  );
  const denying = wider.find(({ effect }) => effect === "deny");
  const isTwin = (each: Rule) => each.when.length === rule.when.length;
  // Of two that say the same the one with the later id is spare.
  const free = wider.find(
    (each) =>
      each.effect === "allow" &&
      demandOf(each) === 0 &&
      namesAsMuch(each, rule) &&
      !(isTwin(each) && demandOf(rule) === 0 && each.id > rule.id),
  );
  if (denying !== undefined) {
    if (rule.effect === "deny" && isTwin(denying) && denying.id > rule.id) return [];
    const message = `rule ${denying.id} denies all that it ${rule.effect === "allow" ? "allows" : "denies"}`;
    return [{ severity: "error", code: "SHADOWED", rule: rule.id, message }];
  }
  if (rule.effect === "deny" || free === undefined) return [];
  const left = demandOf(rule) === 0 ? "it adds nothing" : "its limits and approvals are never asked for";
  return [
    {
      severity: "error",
      code: "SHADOWED",
      rule: rule.id,
      message: `rule ${free.id} allows all that it allows: ${left}`,
    },
  ];
}

/** Kinds that must be named are allowed by nothing that does not name them. */
function namesAsMuch(wider: Rule, rule: Rule): boolean {
  const kinds = [...kindsOfAll(rule.when)];
  if (kinds.includes("bitcoin-transaction") && speaksOfSighashes(rule) && !speaksOfSighashes(wider)) return false;
  return kinds.every((kind) => !mayAllow(rule, kind) || mayAllow(wider, kind));
}

function includes(conditions: readonly Condition[], condition: Condition): boolean {
  return conditions.some((each) => isDeepStrictEqual(each, condition));
}

function broadnessOf(rule: Rule): readonly PolicyFinding[] {
  if (rule.effect !== "allow" || rule.when.length > 0 || demandOf(rule) > 0) return [];
  const message = "it allows everything that can be parsed, contracts' calls of any kind included";
  return [{ severity: "warning", code: "ALLOWS_EVERYTHING", rule: rule.id, message }];
}

/** EIP-55: cases that are no checksum are a typing error somewhere in the address. */
function checksumsOf(rule: Rule): readonly PolicyFinding[] {
  const texts = JSON.stringify(rule.when).match(/0x[0-9a-fA-F]{40}(?![0-9a-fA-F])/g) ?? [];
  const wrong = texts.filter((text) => {
    const isMixed = text.slice(2) !== text.slice(2).toLowerCase() && text.slice(2) !== text.slice(2).toUpperCase();
    return isMixed && checksummed(Uint8Array.from(Buffer.from(text.slice(2), "hex"))) !== text;
  });
  return [...new Set(wrong)].map((text) => ({
    ...{ severity: "warning", code: "CHECKSUM_WRONG", rule: rule.id },
    message: `${text} is not in EIP-55's case: is every digit right?`,
  }));
}
