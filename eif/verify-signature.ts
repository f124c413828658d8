/** What a signature is worth. No chain is built and nothing is trusted: a policy that compares PCR8 does that. */
import type { X509Certificate } from "node:crypto";
import { EifError } from "./errors.ts";
import { hexOf, type Measurements } from "./measure.ts";
import type { InspectedEif } from "./read-eif.ts";
import { firstCertificate, isSignedBy } from "./sign-pcr0.ts";

export interface VerifiedSignature {
  readonly certificate: X509Certificate;
  readonly measurements: Measurements;
}

/**
 * The certificate's key signed the PCR0 that this image has, and the certificate is valid at a time. `run-enclave` checks
 * the first and the last, `describe-eif` the second (nitro.md 1.5).
 *
 * @param eif - Read by `readEif`, or inspected: what it breaks otherwise is not looked at here.
 * @param atMs - When the certificate must be valid; `whenever` leaves the dates out.
 * @throws {@link EifError} `NOT_SIGNED`, `CERTIFICATE_MALFORMED`, `SIGNATURE_INVALID`, `SIGNED_PCR0_MISMATCH`,
 * `CERTIFICATE_NOT_YET_VALID`, `CERTIFICATE_EXPIRED`
 */
export function verifyEifSignature(
  { signature, pcrs, measurements }: InspectedEif,
  atMs: number | "whenever",
): VerifiedSignature {
  if (signature === null) throw new EifError("NOT_SIGNED", "the image is not signed, or its signature cannot be read");
  const certificate = firstCertificate(signature.certificatePem);
  if (!isSignedBy(certificate, signature.algorithm, signature.toBeSigned, signature.signature)) {
    throw new EifError("SIGNATURE_INVALID", "the signature does not verify under the certificate's key");
  }
  const signed = hexOf(signature.registerValue);
  const measured = pcrs === null ? "no PCR0 that could be measured" : hexOf(pcrs.pcr0);
  if (signature.registerIndex !== 0 || signed !== measured || measurements === null) {
    throw new EifError(
      "SIGNED_PCR0_MISMATCH",
      `signed is PCR${signature.registerIndex} ${signed}, the image has PCR0 ${measured}`,
    );
  }
  if (atMs !== "whenever") checkValidity(certificate, atMs);
  return { certificate, measurements };
}

/** @throws {@link EifError} `CERTIFICATE_NOT_YET_VALID`, `CERTIFICATE_EXPIRED` */
export function checkValidity(certificate: X509Certificate, atMs: number): void {
  const [from, to] = [certificate.validFromDate, certificate.validToDate];
  if (atMs < from.getTime()) {
    throw new EifError("CERTIFICATE_NOT_YET_VALID", `the signing certificate is valid from ${from.toISOString()} on`);
  }
  if (atMs > to.getTime()) {
    throw new EifError(
      "CERTIFICATE_EXPIRED",
      `the signing certificate expired on ${to.toISOString()}; an image signed with it does not start`,
    );
  }
}
