/**
 * Kinds that are a permission of their own. Whoever may have a digest signed may have everything signed, since what it is
 * of cannot be seen; whoever has a wallet's secret signs where no policy is. A rule that allows whatever comes does not
 * mean these: it must name them.
 */
import type { Condition, FactKind, Rule } from "../../protocol/index.ts";

const NAMED_ONLY: Partial<Record<FactKind, string>> = { "raw-digest": "raw.", "wallet-export": "export." };

/** Whether a rule that allows may allow a kind: of some it says that it is about them, by their kind or a field of theirs. */
export function mayAllow({ when }: Pick<Rule, "when">, kind: FactKind): boolean {
  const prefix = NAMED_ONLY[kind];
  return prefix === undefined || when.some((condition) => isAbout(condition, kind, prefix));
}

function isAbout(condition: Condition, kind: FactKind, prefix: string): boolean {
  if ("all" in condition) return condition.all.some((each) => isAbout(each, kind, prefix));
  if ("any" in condition) return condition.any.length > 0 && condition.any.every((each) => isAbout(each, kind, prefix));
  if (!("field" in condition)) return false;
  if (condition.field === "kind") return "in" in condition && condition.in?.includes(kind) === true;
  return condition.field.startsWith(prefix);
}
