/** "Would KMS allow this?": the simulator's own evaluator over values, with no server, key or document. */

import { decideByPolicy } from "./policy-decision.ts";
import { type KeyPolicyInput, parseKeyPolicy } from "./policy-document.ts";
import { identityOf } from "./principal.ts";
import { contextKeysOf } from "./request-context.ts";

export interface KeyAccessQuestion {
  readonly policy: KeyPolicyInput;
  /** A user, a role, or a session `arn:aws:sts::<account>:assumed-role/<role>/<session>`. */
  readonly principalArn: string;
  /** With `kms:` before it or without, such as `Decrypt`. */
  readonly operation: string;
  /** PCRs of a document that verified; null: no document. Counts only for operations that take a `Recipient`. */
  readonly documentPcrs: ReadonlyMap<number, Uint8Array> | null;
  readonly encryptionContext?: ReadonlyMap<string, string>;
  /** A key in the principal's own account unless given. */
  readonly keyArn?: string;
  /** More condition keys that the request carries, such as `kms:ViaService`; names in any case. */
  readonly conditionKeys?: ReadonlyMap<string, readonly string[]>;
}

/** The place in `Statement`, counted from 0, and the name that it has there. */
export interface StatementPlace {
  readonly index: number;
  readonly sid: string | null;
}

/** A condition that the simulator cannot judge: its Allow does not apply, its Deny does. */
export interface UnresolvedCondition {
  readonly statement: StatementPlace;
  readonly operator: string;
  readonly key: string;
}

/** What a deciding statement stands in. */
export type DecidedBy = "key-policy" | "identity-policy" | "grant";

export type KeyAccessDecision = (
  | { readonly kind: "allow"; readonly by: DecidedBy; readonly statement: StatementPlace | null }
  | {
      readonly kind: "deny";
      readonly reason: "EXPLICIT_DENY";
      readonly by: DecidedBy;
      readonly statement: StatementPlace;
    }
  | { readonly kind: "deny"; readonly reason: "NO_ALLOW" }
) & { readonly unresolved: readonly UnresolvedCondition[] };

/**
 * Decides one request by one key policy, as the simulated KMS does when the request comes over the wire.
 *
 * @returns `statement` is null only for an allow by a grant, which has none.
 * @throws {@link KmsError} `MalformedPolicyDocumentException`, saying where; `ValidationException` for an ARN that is
 * no principal.
 */
export function decideKeyAccess(question: KeyAccessQuestion): KeyAccessDecision {
  const caller = identityOf(question.principalArn);
  const operation = question.operation.replace(/^kms:/i, "");
  const context = contextKeysOf({
    caller,
    operation,
    pcrs: question.documentPcrs,
    encryptionContext: question.encryptionContext ?? new Map(),
  });
  for (const [key, values] of question.conditionKeys ?? []) context.set(key.toLowerCase(), [...values]);
  return decideByPolicy(
    {
      caller,
      action: `kms:${operation}`,
      resource: question.keyArn ?? `arn:aws:kms:us-east-1:${caller.accountId}:key/the-key`,
      context,
    },
    parseKeyPolicy(question.policy),
  );
}
