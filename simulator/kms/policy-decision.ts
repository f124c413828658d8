/** Decides one request by one key policy: an explicit Deny wins, then an Allow, and else the answer is no. */

import { type RequestContext, resolveCondition } from "./conditions.ts";
import type { KeyAccessDecision, UnresolvedCondition } from "./decide-key-access.ts";
import type { KeyPolicy, Statement } from "./policy-document.ts";
import { type Identity, namesPrincipal } from "./principal.ts";
import { matchesWildcard } from "./wildcard.ts";

export interface AccessRequest {
  readonly caller: Identity;
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  /** The key's ARN. */
  readonly resource: string;
  readonly context: RequestContext;
}

export function decideByPolicy(request: AccessRequest, policy: KeyPolicy): KeyAccessDecision {
  const unresolved: UnresolvedCondition[] = [];
  const applying = policy.statements.filter((statement, index) => applies(statement, index, request, unresolved));
  const place = (statement: Statement) => ({ index: policy.statements.indexOf(statement), sid: statement.sid });
  const deny = applying.find(({ effect }) => effect === "Deny");
  if (deny !== undefined) {
    return { kind: "deny", reason: "EXPLICIT_DENY", by: "key-policy", statement: place(deny), unresolved };
  }
  const [allow] = applying;
  if (allow !== undefined) return { kind: "allow", by: "key-policy", statement: place(allow), unresolved };
  return { kind: "deny", reason: "NO_ALLOW", unresolved };
}

function applies(
  statement: Statement,
  index: number,
  { caller, action, resource, context }: AccessRequest,
  unresolved: UnresolvedCondition[],
): boolean {
  // Action names do not tell case (IAM User Guide, "Action").
  const lowerAction = action.toLowerCase();
  if (!statement.principals.some((principal) => namesPrincipal(principal, caller))) return false;
  if (!statement.actions.some((pattern) => matchesWildcard(pattern.toLowerCase(), lowerAction))) return false;
  if (!statement.resources.some((pattern) => matchesWildcard(pattern, resource))) return false;
  const results = statement.conditions.map((condition) => {
    const result = resolveCondition(condition, context);
    const { operator, key } = condition;
    if (result === "unresolved") unresolved.push({ statement: { index, sid: statement.sid }, operator, key });
    return result;
  });
  // What we cannot judge must never open: an Allow does not apply then, a Deny does.
  if (results.includes("unresolved")) return statement.effect === "Deny";
  return results.every((result) => result === "met");
}
