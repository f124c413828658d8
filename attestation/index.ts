export { type AttestationRoot, AWS_NITRO_ROOT_G1 } from "./aws-root.ts";
export { describeUnverifiedCertificate, type UnverifiedCertificate } from "./describe-certificate.ts";
export type { UnverifiedAttestation } from "./document.ts";
export { ATTESTATION_ERROR_STEPS, AttestationError, type AttestationErrorCode } from "./errors.ts";
export { createPcrSet, type ExpectedAttestation, type PcrSet } from "./expectation.ts";
export { extendPcr, pcr3OfRoleArn, pcr4OfInstanceId, pcr8OfCertificate, pcrOfParts } from "./pcr.ts";
export {
  decodeUnverified,
  MAX_CLOCK_SKEW_MS,
  type VerifiedAttestation,
  verifyAttestation,
} from "./verify-attestation.ts";
