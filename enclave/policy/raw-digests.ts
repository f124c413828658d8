/**
 * Raw digests are a permission of their own. What a digest is of cannot be seen, so whoever may have digests signed may
 * have everything signed: a rule that allows whatever comes does not mean that. It must name them.
 */
import type { Condition, Rule } from "../../protocol/index.ts";

/** Whether a rule that allows may allow raw digests: it says that it is about them, by their kind or a field of theirs. */
export function namesRawDigests({ when }: Pick<Rule, "when">): boolean {
  return when.some(isAboutThem);
}

function isAboutThem(condition: Condition): boolean {
  if ("all" in condition) return condition.all.some(isAboutThem);
  if ("any" in condition) return condition.any.length > 0 && condition.any.every(isAboutThem);
  if (!("field" in condition)) return false;
  if (condition.field === "kind") return "in" in condition && condition.in?.includes("raw-digest") === true;
  return condition.field.startsWith("raw.");
}
