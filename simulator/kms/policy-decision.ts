/**
 * Decides one request (IAM User Guide, "Policy evaluation logic"; KMS Developer Guide, "Determining access"): an explicit
 * Deny anywhere wins; then a key policy or a grant must allow, or the key policy must leave it to IAM and IAM allow.
 */
import { type RequestContext, resolveCondition } from "./conditions.ts";
import type { DecidedBy, KeyAccessDecision, StatementPlace, UnresolvedCondition } from "./decide-key-access.ts";
import type { KeyPolicy, Matcher, Statement } from "./policy-document.ts";
import { expandVariables } from "./policy-variables.ts";
import { type Identity, matchPrincipal } from "./principal.ts";
import { matchesPieces, matchesWildcard } from "./wildcard.ts";

export interface AccessRequest {
  readonly caller: Identity;
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  /** The ARN of a key or an alias, or `*`. */
  readonly resource: string;
  readonly context: RequestContext;
}

export interface PolicySet {
  /** Null for what concerns no key, where IAM alone decides. */
  readonly keyPolicy: KeyPolicy | null;
  /** Null: IAM stands aside, that is, it allows whatever is left to it. */
  readonly identityPolicies: readonly KeyPolicy[] | null;
  /** The account that owns the key. */
  readonly accountId: string;
  /** Whether a grant allows this very request. */
  readonly granted: boolean;
}

/** The key policy alone, of a key in the caller's account. */
export function decideByPolicy(request: AccessRequest, keyPolicy: KeyPolicy): KeyAccessDecision {
  const accountId = request.caller.accountId;
  return decideByPolicies(request, { keyPolicy, identityPolicies: null, accountId, granted: false });
}

export function decideByPolicies(request: AccessRequest, policies: PolicySet): KeyAccessDecision {
  const unresolved: UnresolvedCondition[] = [];
  const note = (condition: UnresolvedCondition) => unresolved.push(condition);
  const keyPolicy = policies.keyPolicy === null ? [] : applyingOf(policies.keyPolicy, "key-policy", request, note);
  const identity = (policies.identityPolicies ?? []).flatMap((policy) => {
    return applyingOf(policy, "identity-policy", request, note);
  });
  const deny = [...keyPolicy, ...identity].find(({ effect }) => effect === "Deny");
  if (deny !== undefined) {
    const { by, statement } = deny;
    return { kind: "deny", reason: "EXPLICIT_DENY", by, statement, unresolved };
  }
  const allow = allowOf(request, policies, keyPolicy, identity);
  if (allow !== null) return { kind: "allow", ...allow, unresolved };
  if (policies.granted) return { kind: "allow", by: "grant", statement: null, unresolved };
  // What was left to IAM has been left there in vain.
  const leftToIam = policies.keyPolicy === null || keyPolicy.length > 0;
  return { kind: "deny", reason: "NO_ALLOW", missing: leftToIam ? "identity-policy" : "key-policy", unresolved };
}

interface Applying {
  readonly by: DecidedBy;
  readonly statement: StatementPlace;
  readonly effect: "Allow" | "Deny";
  /** Whether it only leaves the matter to IAM. */
  readonly delegates: boolean;
}

function allowOf(
  { caller }: AccessRequest,
  policies: PolicySet,
  keyPolicy: readonly Applying[],
  identity: readonly Applying[],
): { readonly by: DecidedBy; readonly statement: StatementPlace | null } | null {
  const sameAccount = caller.accountId === policies.accountId;
  // IAM User Guide: across accounts both sides must allow; within one, naming the principal is enough.
  const direct = keyPolicy.find(({ delegates }) => !delegates);
  const [byKeyPolicy] = direct === undefined ? keyPolicy : [direct];
  if (sameAccount && direct !== undefined) return { by: direct.by, statement: direct.statement };
  const keyPolicyLeavesIt = policies.keyPolicy === null ? sameAccount : byKeyPolicy !== undefined;
  if (!keyPolicyLeavesIt) return null;
  if (policies.identityPolicies === null) {
    return byKeyPolicy === undefined
      ? { by: "identity-policy", statement: null }
      : { by: byKeyPolicy.by, statement: byKeyPolicy.statement };
  }
  const [byIdentity] = identity;
  return byIdentity === undefined ? null : { by: byIdentity.by, statement: byIdentity.statement };
}

function applyingOf(
  policy: KeyPolicy,
  by: DecidedBy,
  request: AccessRequest,
  note: (condition: UnresolvedCondition) => void,
): Applying[] {
  return policy.statements.flatMap((statement, index) => {
    const { effect, sid, principals } = statement;
    const match = principals === null ? "direct" : matchPrincipal(principals, request.caller, effect);
    if (match === "none" || !namesRequest(statement, policy, request)) return [];
    const place = { index, sid };
    if (!conditionsHold(statement, policy, request, (condition) => note({ statement: place, ...condition }))) return [];
    return [{ by, statement: place, effect, delegates: match === "account" && !isRoot(request.caller) }];
  });
}

/** The account's root user is the account: nobody else has to allow it anything more. */
function isRoot({ arn }: Identity): boolean {
  return arn.endsWith(":root");
}

function namesRequest({ actions, resources, effect }: Statement, policy: KeyPolicy, request: AccessRequest): boolean {
  // Action names do not tell case (IAM User Guide, "Action").
  const action = request.action.toLowerCase();
  if (!matches(actions, (pattern) => matchesWildcard(pattern.toLowerCase(), action))) return false;
  return matches(resources, (pattern) => {
    if (!policy.variables) return matchesWildcard(pattern, request.resource);
    const pieces = expandVariables(pattern, request.context);
    // A variable that has no value: an Allow does not reach the key then, a Deny does.
    return pieces === null ? (effect === "Deny") !== resources.negated : matchesPieces(pieces, request.resource);
  });
}

function matches({ patterns, negated }: Matcher, test: (pattern: string) => boolean): boolean {
  return patterns.some(test) !== negated;
}

function conditionsHold(
  { conditions, effect }: Statement,
  { variables }: KeyPolicy,
  { context, action }: AccessRequest,
  note: (condition: { readonly operator: string; readonly key: string }) => void,
): boolean {
  const results = conditions.map((condition) => {
    const result = resolveCondition(condition, { context, action, variables });
    if (result === "unresolved") note({ operator: condition.operator, key: condition.key });
    return result;
  });
  // What we cannot judge must never open: an Allow does not apply then, a Deny does.
  if (results.includes("unresolved")) return effect === "Deny";
  return results.every((result) => result === "met");
}
