/** "Would KMS allow this?": the simulator's own evaluator over values, with no server, key or document. */

import { takesEncryptionAlgorithm } from "./condition-keys.ts";
import { KmsError } from "./errors.ts";
import { type GrantTerms, grantAllows } from "./grant.ts";
import { decideByPolicies } from "./policy-decision.ts";
import { type KeyPolicyInput, parseIdentityPolicy, parseKeyPolicy } from "./policy-document.ts";
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
  /**
   * What IAM says of the principal. Left out, IAM stands aside: it allows whatever the key policy leaves to it by an
   * Allow for the account's root, and denies nothing.
   */
  readonly identityPolicies?: readonly KeyPolicyInput[];
  /** Grants on the key. */
  readonly grants?: readonly GrantTerms[];
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
  /** `missing`: whose Allow was looked for in vain; `identity-policy` if the key policy left the matter to IAM. */
  | { readonly kind: "deny"; readonly reason: "NO_ALLOW"; readonly missing: "key-policy" | "identity-policy" }
) & { readonly unresolved: readonly UnresolvedCondition[] };

/**
 * Decides one request about one key, as the simulated KMS does when the request comes over the wire. A document is taken
 * for verified. Of `aws:CurrentTime`, `aws:SourceIp` and what the operation itself carries (`kms:GrantOperations`, …)
 * only {@link KeyAccessQuestion.conditionKeys} can tell; conditions on them are unresolved otherwise.
 *
 * @returns `statement` is null only for an allow by a grant, which has none.
 * @throws {@link KmsError} `MalformedPolicyDocumentException`, saying where; `ValidationException` for an ARN that is
 * no principal or no key.
 */
export function decideKeyAccess(question: KeyAccessQuestion): KeyAccessDecision {
  const caller = identityOf(question.principalArn);
  const operation = question.operation.replace(/^kms:/i, "");
  const encryptionContext = question.encryptionContext ?? new Map<string, string>();
  const keyArn = question.keyArn ?? `arn:aws:kms:us-east-1:${caller.accountId}:key/the-key`;
  const [, region, accountId, keyId] = /^arn:[a-z-]+:kms:([a-z0-9-]+):([0-9]{12}):key\/([^/]+)$/.exec(keyArn) ?? [];
  if (region === undefined || accountId === undefined || keyId === undefined) {
    throw new KmsError("ValidationException", "expected the ARN of a key");
  }
  const symmetric = { spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT", tags: new Map(), aliases: [] };
  const context = contextKeysOf({
    caller,
    operation,
    pcrs: question.documentPcrs,
    encryptionContext,
    key: { ...symmetric, accountId, region, multiRegion: keyId.startsWith("mrk-") },
    more: [
      ...(takesEncryptionAlgorithm(operation) ? [["kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"] as const] : []),
      ...(question.conditionKeys ?? []),
    ],
  });
  return decideByPolicies(
    { caller, action: `kms:${operation}`, resource: keyArn, context },
    {
      keyPolicy: parseKeyPolicy(question.policy),
      identityPolicies: question.identityPolicies?.map(parseIdentityPolicy) ?? null,
      accountId,
      granted: (question.grants ?? []).some((grant) => grantAllows(grant, { caller, operation, encryptionContext })),
    },
  );
}
