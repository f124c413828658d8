/** What was found on each condition of a rule: not on the way of a decision, but after it, for people. */
import type { Condition, Rule } from "../../protocol/index.ts";
import { compileCondition } from "./compile.ts";
import { Evaluation, TooMuchWork } from "./evaluation.ts";
import { UNKNOWN, type Value } from "./fields.ts";
import { ABSENT, NO, type Tri, UNSURE } from "./tri.ts";

export interface Finding {
  readonly rule: string;
  /** The condition, as JSON. */
  readonly condition: string;
  /** `absent`: what is to be signed has no such fact. */
  readonly is: "yes" | "no" | "unsure" | "absent";
  /** What was found there, where it is one value. */
  readonly fact: string | null;
}

const MAX_FINDINGS = 16;
const MAX_TEXT = 160;
/** After a decision, and for one rule. */
const MAX_STEPS = 10_000;

/** @param judged - Of the same request: what is looked at here is counted there. */
export function explain({ id, when }: Rule, judged: Evaluation): readonly Finding[] {
  const evaluation = new Evaluation(judged.request, MAX_STEPS);
  const findings = when.slice(0, MAX_FINDINGS).map((condition) => ({
    rule: id,
    condition: short(JSON.stringify(condition)),
    is: wordOf(outcomeOf(condition, evaluation)),
    fact: "field" in condition ? short(factOf(evaluation.values[condition.field])) : null,
  }));
  judged.count(evaluation.steps);
  return findings;
}

function outcomeOf(condition: Condition, evaluation: Evaluation): Tri {
  try {
    return compileCondition(condition)(evaluation, null);
  } catch (error) {
    if (!(error instanceof TooMuchWork)) throw error;
    return UNSURE;
  }
}

function wordOf(value: Tri): Finding["is"] {
  if (value === NO) return "no";
  if (value === ABSENT) return "absent";
  return value === UNSURE ? "unsure" : "yes";
}

function factOf(value: Value): string {
  if (value === undefined) return "absent";
  if (value === null) return "none";
  if (value === UNKNOWN) return "unknown";
  return typeof value === "object" ? value.join(" or ") : String(value);
}

function short(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}
