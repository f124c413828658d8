/** Whether a caller may do what it asks, and to which key the answer must then be encrypted. */
import type { KeyObject } from "node:crypto";
import type { AttestationRoot } from "../../attestation/index.ts";
import type { EncryptionContext } from "./ciphertext-blob.ts";
import type { KeyAccessDecision } from "./decide-key-access.ts";
import { KmsError } from "./errors.ts";
import { type Grant, grantAllows } from "./grant.ts";
import { type KmsInput, mustHave } from "./input.ts";
import { decideByPolicies } from "./policy-decision.ts";
import type { KeyPolicy } from "./policy-document.ts";
import type { Identity } from "./principal.ts";
import { judgeRecipient, recipientKeyOf } from "./recipient.ts";
import { contextKeysOf } from "./request-context.ts";
import { isMultiRegion, type SimulatedKey, usageOf } from "./simulated-key.ts";

/** KMS API Reference, RecipientInfo: AttestationDocument has 1 to 262144 bytes. */
const MAX_DOCUMENT_BYTES = 262_144;

export interface AttestationTrust {
  readonly roots: readonly AttestationRoot[];
  readonly maxAgeMs: number;
}

/** Who calls, whence, and what its own policies say. */
export interface Caller {
  readonly identity: Identity;
  /** Null: IAM stands aside. */
  readonly identityPolicies: readonly KeyPolicy[] | null;
  /** Of the credentials and the connection. */
  readonly conditionKeys: readonly (readonly [key: string, values: string | readonly string[]])[];
}

export interface Access {
  readonly operation: string;
  readonly caller: Caller;
  /** Null: no key is named, so IAM alone decides. */
  readonly key: { readonly key: SimulatedKey; readonly aliases: readonly string[] } | null;
  /** What the request is about, if not the key. */
  readonly resource?: string;
  /** Whose account the simulated one is. */
  readonly owner: { readonly accountId: string; readonly region: string };
  readonly encryptionContext: EncryptionContext;
  readonly recipientDocument: Uint8Array | null;
  /** Condition keys of the operation. */
  readonly more: readonly (readonly [key: string, values: string | readonly string[]])[];
  /** Whether a grant counts already: old enough to be known everywhere, or named by its token. */
  readonly isGrantKnown: (grant: Grant) => boolean;
  readonly trust: AttestationTrust;
  readonly nowMs: number;
}

/** @throws {@link KmsError} `ValidationException`, `SerializationException` */
export function readRecipient(input: KmsInput): Uint8Array | null {
  const recipient = input.object("Recipient");
  if (recipient === undefined) return null;
  mustHave("KeyEncryptionAlgorithm", recipient.word("KeyEncryptionAlgorithm", ["RSAES_OAEP_SHA_256"]));
  const document = recipient.blob("AttestationDocument", { min: 1, max: MAX_DOCUMENT_BYTES });
  recipient.end();
  return mustHave("AttestationDocument", document);
}

/**
 * Decides one request. A document that does not verify is refused even where the policy asks for none: an answer would
 * go to a key that nobody vouches for.
 *
 * @returns The key of the recipient, or null where the request named none.
 * @throws {@link KmsError} `AccessDeniedException`; `ValidationException` if the caller may but its document has no
 * usable key.
 */
export async function checkAccess(access: Access): Promise<KeyObject | null> {
  const { recipientDocument, trust, nowMs } = access;
  const judgement =
    recipientDocument === null
      ? null
      : await judgeRecipient(recipientDocument, { roots: trust.roots, maxAgeMs: trust.maxAgeMs, atMs: nowMs });
  if (judgement?.kind === "refused") {
    throw denied(access, NO_RESOURCE_POLICY(access.operation), `attestation refused: ${judgement.code}`);
  }
  const decision = decideAccess(access, judgement === null ? null : judgement.attestation.pcrs);
  if (decision.kind === "deny") throw denied(access, ...reasonOf(decision, access.operation));
  return judgement === null ? null : recipientKeyOf(judgement.attestation);
}

/** The decision alone, for the checks that KMS makes on a caller's behalf. */
export function decideAccess(access: Access, pcrs: ReadonlyMap<number, Uint8Array> | null): KeyAccessDecision {
  const { caller, operation, key, owner, encryptionContext } = access;
  const identity = caller.identity;
  const context = contextKeysOf({
    caller: identity,
    operation,
    pcrs,
    encryptionContext,
    key: key === null ? null : { ...owner, ...factsOf(key.key), aliases: key.aliases },
    more: [...caller.conditionKeys, ...access.more],
  });
  const grants = key === null ? [] : key.key.grants.filter(access.isGrantKnown);
  return decideByPolicies(
    { caller: identity, action: `kms:${operation}`, resource: access.resource ?? key?.key.arn ?? "*", context },
    {
      keyPolicy: key === null ? null : key.key.policy,
      identityPolicies: caller.identityPolicies,
      accountId: owner.accountId,
      granted: grants.some((grant) => grantAllows(grant, { caller: identity, operation, encryptionContext })),
    },
  );
}

function factsOf(key: SimulatedKey) {
  return { spec: key.spec, usage: usageOf(key), multiRegion: isMultiRegion(key), tags: key.tags };
}

const NO_RESOURCE_POLICY = (operation: string) => `because no resource-based policy allows the kms:${operation} action`;

function reasonOf(
  decision: Extract<KeyAccessDecision, { kind: "deny" }>,
  operation: string,
): [because: string, detail: string] {
  if (decision.reason === "EXPLICIT_DENY") {
    const policy = decision.by === "identity-policy" ? "an identity-based policy" : "a resource-based policy";
    return [
      `with an explicit deny in ${policy}`,
      `denied by statement ${decision.statement.sid ?? `${decision.statement.index}, without Sid`}`,
    ];
  }
  if (decision.missing === "key-policy") return [NO_RESOURCE_POLICY(operation), "no allow"];
  return [`because no identity-based policy allows the kms:${operation} action`, "no allow in IAM"];
}

/** AWS's words (nitro.md 4.2): they do not tell a bad document from a policy that wants another one. */
function denied({ operation, caller, key, resource }: Access, because: string, detail: string): KmsError {
  const what = resource ?? key?.key.arn ?? "*";
  return new KmsError(
    "AccessDeniedException",
    `User: ${caller.identity.arn} is not authorized to perform: kms:${operation} on resource: ${what} ${because}`,
    { detail },
  );
}
