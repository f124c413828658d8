/** Whether a caller may do what it asks, and to which key the answer must then be encrypted. */
import type { KeyObject } from "node:crypto";
import type { AttestationRoot } from "../../attestation/index.ts";
import type { EncryptionContext } from "./ciphertext-blob.ts";
import { KmsError } from "./errors.ts";
import { type KmsInput, mustHave } from "./input.ts";
import type { SimulatedKey } from "./key-store.ts";
import { decideByPolicy } from "./policy-decision.ts";
import type { Identity } from "./principal.ts";
import { judgeRecipient, recipientKeyOf } from "./recipient.ts";
import { contextKeysOf } from "./request-context.ts";

/** KMS API Reference, RecipientInfo: AttestationDocument has 1 to 262144 bytes. */
const MAX_DOCUMENT_BYTES = 262_144;

export interface AttestationTrust {
  readonly roots: readonly AttestationRoot[];
  readonly maxAgeMs: number;
}

export interface Access {
  readonly operation: string;
  readonly caller: Identity;
  /** Null: no key is named, so no key policy decides, and any authenticated caller may. */
  readonly key: SimulatedKey | null;
  readonly encryptionContext: EncryptionContext;
  readonly recipientDocument: Uint8Array | null;
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
  const { key, recipientDocument, trust, nowMs } = access;
  const judgement =
    recipientDocument === null
      ? null
      : await judgeRecipient(recipientDocument, { roots: trust.roots, maxAgeMs: trust.maxAgeMs, atMs: nowMs });
  if (judgement?.kind === "refused") throw denied(access, "NO_ALLOW", `attestation refused: ${judgement.code}`);
  if (key !== null) {
    const decision = decideByPolicy(
      {
        caller: access.caller,
        action: `kms:${access.operation}`,
        resource: key.arn,
        context: contextKeysOf({
          caller: access.caller,
          operation: access.operation,
          pcrs: judgement === null ? null : judgement.attestation.pcrs,
          encryptionContext: access.encryptionContext,
        }),
      },
      key.policy,
    );
    if (decision.kind === "deny") {
      const statement =
        decision.reason === "EXPLICIT_DENY"
          ? `denied by statement ${decision.statement.sid ?? "without Sid"}`
          : "no allow";
      throw denied(access, decision.reason, statement);
    }
  }
  return judgement === null ? null : recipientKeyOf(judgement.attestation);
}

/** AWS's words (nitro.md 4.2): they do not tell a bad document from a policy that wants another one. */
function denied({ operation, caller, key }: Access, reason: "EXPLICIT_DENY" | "NO_ALLOW", detail: string): KmsError {
  const because =
    reason === "EXPLICIT_DENY"
      ? "with an explicit deny in a resource-based policy"
      : `because no resource-based policy allows the kms:${operation} action`;
  return new KmsError(
    "AccessDeniedException",
    `User: ${caller.arn} is not authorized to perform: kms:${operation} on resource: ${key?.arn ?? "*"} ${because}`,
    { detail },
  );
}
