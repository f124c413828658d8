/** A document made ready to be asked: once for each version of it, since it is asked for every signature. */
import {
  type AllowRule,
  COLLECTIONS,
  type Collection,
  type Condition,
  FACT_KINDS,
  type FactKind,
  kindsWith,
  type Policy,
  type Rule,
  type TimeTest,
  WEEKDAYS,
} from "../../protocol/index.ts";
import { compileCall, compileTyped } from "./compile-call.ts";
import type { Evaluation } from "./evaluation.ts";
import { callDataOf, type Values } from "./fields.ts";
import { mayAllow } from "./named-kinds.ts";
import { ABSENT, contraryOf, greatest, least, NO, type Tri, triOf, UNSURE, YES } from "./tri.ts";
import { matcherOf } from "./value-tests.ts";

/** @param element - Of the list that the condition is about the elements of. */
export type Test = (evaluation: Evaluation, element: Values | null) => Tri;

export interface CompiledRule<Kind extends Rule = Rule> {
  readonly rule: Kind;
  readonly test: Test;
}

/** In an order that does not come from the document's: by id, and what asks for less first. */
export interface CompiledPolicy {
  readonly document: Policy;
  readonly rules: ReadonlyMap<
    FactKind,
    { readonly denies: readonly CompiledRule[]; readonly allows: readonly CompiledRule<AllowRule>[] }
  >;
}

/** @throws {@link RequestError} `INVALID_PARAMS` for a condition on a call that there can be none of */
export function compilePolicy(document: Policy): CompiledPolicy {
  const compiled = document.rules.map((rule) => ({ rule, test: allOf(rule.when), kinds: kindsOfAll(rule.when) }));
  compiled.sort((first, second) => demandOf(first.rule) - demandOf(second.rule) || compareIds(first.rule, second.rule));
  const rules = new Map(
    FACT_KINDS.map((kind) => {
      const fitting = compiled.filter(({ rule, kinds }) => kinds.has(kind) && mayAllow(rule, kind));
      const denies = fitting.filter(({ rule }) => rule.effect === "deny");
      const allows = fitting.filter((each): each is typeof each & { rule: AllowRule } => each.rule.effect === "allow");
      return [kind, { denies, allows }] as const;
    }),
  );
  return { document, rules };
}

/** What a rule asks for beyond its conditions: nothing, that there is room left, that others agree. */
export function demandOf(rule: Rule): number {
  if (rule.effect === "deny") return 0;
  return (rule.limits === undefined ? 0 : 1) + (rule.approvals === undefined ? 0 : 2);
}

function compareIds({ id: first }: Rule, { id: second }: Rule): number {
  return first < second ? -1 : Number(first > second);
}

export function compileCondition(condition: Condition): Test {
  if ("field" in condition) {
    const { field, ...test } = condition;
    const matcher = matcherOf(test);
    return (evaluation, element) => {
      evaluation.step();
      return matcher((element ?? evaluation.values)[field]);
    };
  }
  if ("call" in condition) {
    const test = compileCall(condition);
    return (evaluation) => {
      const data = callDataOf(evaluation.request.facts);
      return data === undefined ? ABSENT : test(data, evaluation);
    };
  }
  if ("typed" in condition) {
    const test = compileTyped(condition);
    return (evaluation) => {
      const { facts } = evaluation.request;
      return facts.kind === "evm-typed-data" ? test(facts.message, evaluation) : ABSENT;
    };
  }
  if ("between" in condition || "timeOfDay" in condition) {
    const holds = compileTime(condition);
    return (evaluation) => {
      evaluation.step();
      return triOf(holds(evaluation.request.nowMs));
    };
  }
  if ("all" in condition) return allOf(condition.all);
  if ("any" in condition) return anyOf(condition.any);
  if ("not" in condition) {
    const test = compileCondition(condition.not);
    return (evaluation, element) => contraryOf(test(evaluation, element));
  }
  const collection: Collection = "some" in condition ? condition.some : condition.every;
  const test = allOf(condition.is);
  return "some" in condition ? someOf(collection, test) : everyOf(collection, test);
}

function allOf(conditions: readonly Condition[]): Test {
  const tests = conditions.map(compileCondition);
  return (evaluation, element) => {
    let result: Tri = YES;
    for (const test of tests) {
      result = least(result, test(evaluation, element));
      if (result === NO) return NO;
    }
    return result;
  };
}

function anyOf(conditions: readonly Condition[]): Test {
  const tests = conditions.map(compileCondition);
  return (evaluation, element) => {
    let result: Tri = NO;
    for (const test of tests) {
      result = greatest(result, test(evaluation, element));
      if (result === YES) return YES;
    }
    return result;
  };
}

function someOf(collection: Collection, test: Test): Test {
  return (evaluation) => {
    const elements = evaluation.elements(collection);
    if (elements === undefined) return ABSENT;
    let result: Tri = elements.mayBeMore ? UNSURE : NO;
    for (const item of elements.items) {
      result = greatest(result, test(evaluation, item));
      if (result === YES) return YES;
    }
    return result;
  };
}

/** Of nothing at all it does not hold: what moves nothing that is understood was not looked through. */
function everyOf(collection: Collection, test: Test): Test {
  return (evaluation) => {
    const elements = evaluation.elements(collection);
    if (elements === undefined) return ABSENT;
    if (elements.items.length === 0 && !elements.mayBeMore) return NO;
    let result: Tri = elements.mayBeMore || elements.isBesideOthers === true ? UNSURE : YES;
    for (const item of elements.items) {
      result = least(result, test(evaluation, item));
      if (result === NO) return NO;
    }
    return result;
  };
}

function compileTime(condition: TimeTest): (nowMs: number) => boolean {
  if ("between" in condition) {
    const [fromMs, untilMs] = condition.between.map((iso) => Date.parse(iso)) as [number, number];
    return (nowMs) => nowMs >= fromMs && nowMs < untilMs;
  }
  const [from, until] = condition.timeOfDay.map(minuteOf) as [number, number];
  const days = condition.days === undefined ? null : new Set<string>(condition.days);
  return (nowMs) => {
    const minute = Math.floor(nowMs / 60_000) % 1440;
    const isWithin = from < until ? minute >= from && minute < until : minute >= from || minute < until;
    // What goes on over midnight belongs to the day on which it began.
    const dayMs = from >= until && minute < until ? nowMs - 86_400_000 : nowMs;
    return isWithin && (days === null || days.has(WEEKDAYS[new Date(dayMs).getUTCDay()] ?? ""));
  };
}

function minuteOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}

/** The kinds of which a rule may hold; of all others it surely does not, so it is not asked. */
export function kindsOfAll(conditions: readonly Condition[]): ReadonlySet<FactKind> {
  const each = conditions.map(kindsOf);
  return new Set(FACT_KINDS.filter((kind) => each.every((kinds) => kinds.has(kind))));
}

function kindsOf(condition: Condition): ReadonlySet<FactKind> {
  if ("field" in condition) {
    if (condition.field !== "kind") return new Set(kindsWith(condition.field));
    const matcher = matcherOf({ ...condition });
    return new Set(FACT_KINDS.filter((kind) => matcher(kind) !== NO));
  }
  if ("call" in condition) return new Set(kindsWith("evm.selector"));
  if ("typed" in condition) return new Set(kindsWith("primaryType"));
  if ("all" in condition) return kindsOfAll(condition.all);
  if ("any" in condition) {
    return new Set(condition.any.flatMap((each) => [...kindsOf(each)]));
  }
  if ("some" in condition) return new Set(COLLECTIONS[condition.some]);
  if ("every" in condition) return new Set(COLLECTIONS[condition.every]);
  return new Set(FACT_KINDS);
}
