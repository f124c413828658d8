/** Decides one request by one key policy: an explicit Deny wins, then an Allow, and else the answer is no. */
import { type RequestContext, resolveCondition } from "./conditions.ts";
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

export type PolicyDecision =
  | { readonly kind: "allow"; readonly statement: string }
  | { readonly kind: "deny"; readonly reason: "EXPLICIT_DENY"; readonly statement: string }
  | { readonly kind: "deny"; readonly reason: "NO_ALLOW" };

export function decideByPolicy(request: AccessRequest, policy: KeyPolicy): PolicyDecision {
  const applying = policy.statements.filter((statement) => applies(statement, request));
  const deny = applying.find(({ effect }) => effect === "Deny");
  if (deny !== undefined) return { kind: "deny", reason: "EXPLICIT_DENY", statement: deny.sid ?? "without Sid" };
  const [allow] = applying;
  if (allow !== undefined) return { kind: "allow", statement: allow.sid ?? "without Sid" };
  return { kind: "deny", reason: "NO_ALLOW" };
}

function applies(statement: Statement, { caller, action, resource, context }: AccessRequest): boolean {
  // Action names do not tell case (IAM User Guide, "Action").
  const lowerAction = action.toLowerCase();
  if (!statement.principals.some((principal) => namesPrincipal(principal, caller))) return false;
  if (!statement.actions.some((pattern) => matchesWildcard(pattern.toLowerCase(), lowerAction))) return false;
  if (!statement.resources.some((pattern) => matchesWildcard(pattern, resource))) return false;
  const results = statement.conditions.map((condition) => resolveCondition(condition, context));
  // What we cannot judge must never open: an Allow does not apply then, a Deny does.
  if (results.includes("unresolved")) return statement.effect === "Deny";
  return results.every((result) => result === "met");
}
