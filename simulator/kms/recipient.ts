/** Judges the attestation document in a request's `Recipient`. */
import { createPublicKey, type KeyObject } from "node:crypto";
import {
  AttestationError,
  type AttestationRoot,
  type VerifiedAttestation,
  verifyAttestation,
} from "../../attestation/index.ts";
import { KmsError } from "./errors.ts";

/** nitro.md 4.1: what enclaves use; larger keys are unconfirmed at AWS and refused here. */
const RSA_BITS = 2048;
const RSA_EXPONENT = 65_537n;

export type RecipientJudgement =
  | { readonly kind: "verified"; readonly attestation: VerifiedAttestation }
  /** The code of the failed check: for the log, since AWS tells the caller only that access is denied. */
  | { readonly kind: "refused"; readonly code: string };

/** Runs the verifier that clients use. PCRs are left to the policy, for which a debug document's zeros are values too. */
export async function judgeRecipient(
  document: Uint8Array,
  trust: { readonly roots: readonly AttestationRoot[]; readonly atMs: number; readonly maxAgeMs: number },
): Promise<RecipientJudgement> {
  try {
    const attestation = await verifyAttestation(document, {
      roots: trust.roots,
      atMs: trust.atMs,
      maxAgeMs: trust.maxAgeMs,
      nonce: "unchecked",
      pcrs: "unchecked",
      allowDebug: true,
    });
    return { kind: "verified", attestation };
  } catch (error) {
    if (error instanceof AttestationError) return { kind: "refused", code: error.code };
    throw error;
  }
}

/** @throws {@link KmsError} `ValidationException` unless the document holds an RSA-2048 key in SPKI DER. */
export function recipientKeyOf({ publicKey }: VerifiedAttestation): KeyObject {
  if (publicKey === null) refuse("the attestation document holds no public key");
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
  } catch (cause) {
    return refuse("the attestation document's public key is not SubjectPublicKeyInfo in DER", { cause });
  }
  const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== "rsa" || modulusLength !== RSA_BITS || publicExponent !== RSA_EXPONENT) {
    refuse(`the attestation document's public key is not RSA of ${RSA_BITS} bits`);
  }
  // One key, one encoding: OpenSSL overlooks bytes behind the structure.
  if (!key.export({ type: "spki", format: "der" }).equals(publicKey)) refuse("the public key is not plain DER");
  return key;
}

function refuse(why: string, options?: ErrorOptions): never {
  throw new KmsError("ValidationException", why, options);
}
