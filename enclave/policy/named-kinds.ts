/**
 * Kinds that are a permission of their own. Whoever may have a digest signed may have everything signed, since what it is
 * of cannot be seen; whoever has a wallet's secret signs where no policy is. A rule that allows whatever comes does not
 * mean these: it must name them.
 */
import { type Condition, type FactKind, KINDS_TO_NAME, kindsWith, type Rule } from "../../protocol/index.ts";

/** Whether a rule may speak of a kind: one that allows must say that it is about it, by the kind or a field of it alone. */
export function mayAllow({ effect, when }: Pick<Rule, "effect" | "when">, kind: FactKind): boolean {
  return effect === "deny" || !KINDS_TO_NAME.has(kind) || when.some((condition) => isAbout(condition, kind));
}

function isAbout(condition: Condition, kind: FactKind): boolean {
  if ("all" in condition) return condition.all.some((each) => isAbout(each, kind));
  if ("any" in condition) return condition.any.length > 0 && condition.any.every((each) => isAbout(each, kind));
  if (!("field" in condition)) return false;
  if (condition.field === "kind") return "in" in condition && condition.in?.includes(kind) === true;
  const kinds = kindsWith(condition.field);
  return kinds.length === 1 && kinds[0] === kind;
}
