/**
 * Grants (KMS Developer Guide, "Grants in AWS KMS"). A grant knows encryption context and nothing of attestation, so it
 * goes round a policy that only allows with a condition; an explicit Deny holds against it.
 */
import type { EncryptionContext } from "./ciphertext-blob.ts";
import { KmsError } from "./errors.ts";
import { type Identity, matchPrincipal } from "./principal.ts";

/** KMS API Reference, CreateGrant, "Operations", without those for keys that are not simulated. */
export const GRANT_OPERATIONS = [
  "Decrypt",
  "Encrypt",
  "GenerateDataKey",
  "GenerateDataKeyWithoutPlaintext",
  "ReEncryptFrom",
  "ReEncryptTo",
  "CreateGrant",
  "RetireGrant",
  "DescribeKey",
  "GenerateDataKeyPair",
  "GenerateDataKeyPairWithoutPlaintext",
  "GetPublicKey",
  "DeriveSharedSecret",
  "Sign",
] as const;

/** Those that have an encryption context, and so heed constraints. */
const CONSTRAINED: ReadonlySet<string> = new Set(
  GRANT_OPERATIONS.filter((name) => /^(Decrypt|Encrypt|GenerateDataKey.*|ReEncrypt.*)$/.test(name)),
);

/** What a grant allows, and to whom. */
export interface GrantTerms {
  /** A user, a role, a session, or an account's root, which leaves it to that account's IAM. */
  readonly granteePrincipal: string;
  readonly operations: readonly string[];
  /** The request's encryption context must be exactly this. */
  readonly encryptionContextEquals?: EncryptionContext;
  /** The request's encryption context must hold at least this. */
  readonly encryptionContextSubset?: EncryptionContext;
}

export interface Grant extends GrantTerms {
  readonly grantId: string;
  readonly name: string | null;
  readonly retiringPrincipal: string | null;
  readonly createdMs: number;
}

/** Whether a grant allows this operation to this caller. */
export function grantAllows(
  grant: GrantTerms,
  request: { readonly caller: Identity; readonly operation: string; readonly encryptionContext: EncryptionContext },
): boolean {
  const { caller, operation, encryptionContext } = request;
  if (!namesGrantee(grant.granteePrincipal, caller) || !grant.operations.includes(operation)) return false;
  if (!CONSTRAINED.has(operation)) return true;
  const { encryptionContextEquals: equals, encryptionContextSubset: subset } = grant;
  if (equals !== undefined && !(equals.size === encryptionContext.size && holds(encryptionContext, equals)))
    return false;
  return subset === undefined || holds(encryptionContext, subset);
}

export function namesGrantee(principal: string, caller: Identity): boolean {
  return matchPrincipal({ patterns: [principal], negated: false }, caller, "Allow") !== "none";
}

/** Whether a context has every pair of another. Constraints tell case (CreateGrant, "Constraints"). */
export function holds(context: EncryptionContext, pairs: EncryptionContext): boolean {
  return [...pairs].every(([key, value]) => context.get(key) === value);
}

/**
 * Whether a grant that includes CreateGrant lets its grantee pass on another: no operation more, and constraints at
 * least as strict (KMS Developer Guide, "Grant best practices").
 */
export function mayPassOn(parent: GrantTerms, child: GrantTerms): boolean {
  const { encryptionContextEquals: equals, encryptionContextSubset: subset } = parent;
  const childContext = child.encryptionContextEquals ?? child.encryptionContextSubset ?? new Map<string, string>();
  if (!child.operations.every((operation) => parent.operations.includes(operation))) return false;
  if (subset !== undefined && !holds(childContext, subset)) return false;
  if (equals === undefined) return true;
  const childEquals = child.encryptionContextEquals;
  return childEquals !== undefined && childEquals.size === equals.size && holds(childEquals, equals);
}

/** Not a secret, here as at AWS: it only says which grant is meant. */
export function grantTokenOf(keyId: string, grantId: string): string {
  return Buffer.from(`cloister-simulator-grant/${keyId}/${grantId}`, "ascii").toString("base64url");
}

/** @throws {@link KmsError} `InvalidGrantTokenException` */
export function readGrantToken(token: string): { readonly keyId: string; readonly grantId: string } {
  const text = Buffer.from(token, "base64url").toString("latin1");
  const [, keyId, grantId] = /^cloister-simulator-grant\/([A-Za-z0-9-]{1,64})\/([0-9a-f]{64})$/.exec(text) ?? [];
  if (keyId === undefined || grantId === undefined || grantTokenOf(keyId, grantId) !== token) {
    throw new KmsError("InvalidGrantTokenException", "the grant token is none of the simulated KMS");
  }
  return { keyId, grantId };
}
