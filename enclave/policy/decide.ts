/**
 * What policies say of one request: any rule that denies wins, then every level that has a document must have a rule
 * that allows. A pure function of the request and the documents; what it says is data.
 */
import type { AllowRule, JsonValue } from "../../protocol/index.ts";
import { amountOf } from "./amounts.ts";
import { type CompiledPolicy, demandOf } from "./compile.ts";
import { type Evaluation, TooMuchWork } from "./evaluation.ts";
import { explain, type Finding } from "./explain.ts";
import { leavesOpen, speaksOfSighashes } from "./open-signatures.ts";
import { UNSURE, YES } from "./tri.ts";

export type Level = "app" | "user" | "wallet";

export interface LevelPolicy {
  readonly level: Level;
  readonly policy: CompiledPolicy;
}

export type DenialReason =
  /** The app has no policy. */
  | "NO_APP_POLICY"
  /** A rule denies it. */
  | "DENIED_BY_RULE"
  /** No rule of a level allows it. */
  | "NOT_ALLOWED"
  /** The rules that would allow it have no room left. */
  | "OVER_LIMIT"
  /** Judging it takes more than is done for one request. */
  | "TOO_MUCH_WORK";

export interface Denied {
  readonly kind: "denied";
  readonly reason: DenialReason;
  /** Null where it is no one level's. */
  readonly level: Level | null;
  /** What denies it; null where nothing allows it. */
  readonly rule: string | null;
  /** What was found on the rule's conditions; of a level that does not allow it, on the rules that came nearest. */
  readonly findings: readonly Finding[];
}

/** Nothing denies it. At each level one of these rules, whose conditions all hold, must have its limits and approvals met. */
export interface Open {
  readonly kind: "open";
  readonly levels: readonly { readonly level: Level; readonly candidates: readonly [AllowRule, ...AllowRule[]] }[];
}

export type Verdict = Denied | Open;

/** @param evaluation - Of the request, and new. */
export function decide(evaluation: Evaluation, levels: readonly LevelPolicy[]): Verdict {
  if (!levels.some(({ level }) => level === "app")) return denied("NO_APP_POLICY", "app", null, []);
  try {
    return judge(evaluation, levels);
  } catch (error) {
    if (!(error instanceof TooMuchWork)) throw error;
    return denied("TOO_MUCH_WORK", null, null, []);
  }
}

function judge(evaluation: Evaluation, levels: readonly LevelPolicy[]): Verdict {
  const { facts } = evaluation.request;
  for (const { level, policy } of levels) {
    for (const { rule, test } of policy.rules.get(facts.kind)?.denies ?? []) {
      if (test(evaluation, null) < UNSURE) continue;
      return denied("DENIED_BY_RULE", level, rule.id, explain(rule, evaluation));
    }
  }
  const open: Open["levels"][number][] = [];
  for (const { level, policy } of levels) {
    const [first, ...others] = candidatesOf(policy, evaluation);
    if (first === undefined) return denied("NOT_ALLOWED", level, null, nearest(policy, evaluation));
    open.push({ level, candidates: [first, ...others] });
  }
  return { kind: "open", levels: open };
}

/** Those that ask for nothing more come first, and after one of them no other is needed. */
function candidatesOf(policy: CompiledPolicy, evaluation: Evaluation): readonly AllowRule[] {
  const { facts } = evaluation.request;
  const candidates: AllowRule[] = [];
  for (const { rule, test } of policy.rules.get(facts.kind)?.allows ?? []) {
    if (test(evaluation, null) !== YES) continue;
    if (leavesOpen(facts) && !speaksOfSighashes(rule)) continue;
    if ((rule.limits ?? []).some((limit) => amountOf(limit, facts) === null)) continue;
    candidates.push(rule);
    if (demandOf(rule) === 0) break;
  }
  return candidates;
}

const MAX_NEAREST = 4;

/** For whoever wonders: of rules about this kind, what kept the first few from allowing it. */
function nearest(policy: CompiledPolicy, evaluation: Evaluation): readonly Finding[] {
  const allows = policy.rules.get(evaluation.request.facts.kind)?.allows ?? [];
  return allows.slice(0, MAX_NEAREST).flatMap(({ rule }) =>
    explain(rule, evaluation)
      .filter(({ is }) => is !== "yes")
      .slice(0, 1),
  );
}

export function denied(
  reason: DenialReason,
  level: Level | null,
  rule: string | null,
  findings: readonly Finding[],
): Denied {
  return { kind: "denied", reason, level, rule, findings };
}

/** As refusals carry it. */
export function decisionJson({ kind, reason, level, rule, findings }: Denied): JsonValue {
  return { decision: kind, reason, level, rule, findings: findings.map((each) => ({ ...each })) };
}
