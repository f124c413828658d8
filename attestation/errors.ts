/**
 * Every reason to refuse a document, with the step of docs/verify-an-attestation.md that gives it. Codes are stable:
 * callers branch on them, never on the message.
 */
export const ATTESTATION_ERROR_STEPS = {
  // What the caller expects cannot protect anything. Step 0: before any byte of the document is read.
  INVALID_EXPECTATION: 0,
  INVALID_ARGUMENT: 0,

  // Step 1: one bounded, strictly encoded CBOR item of the right shape.
  INPUT_TOO_LARGE: 1,
  CBOR_TRUNCATED: 1,
  CBOR_TRAILING_BYTES: 1,
  CBOR_NOT_MINIMAL: 1,
  CBOR_UNSUPPORTED: 1,
  CBOR_INVALID_UTF8: 1,
  CBOR_DUPLICATE_KEY: 1,
  CBOR_TOO_DEEP: 1,
  NOT_COSE_SIGN1: 1,

  // Step 2: the COSE headers and the signature's size.
  HEADER_MALFORMED: 2,
  ALGORITHM_NOT_ALLOWED: 2,
  CRITICAL_HEADER: 2,
  SIGNATURE_LENGTH: 2,

  // Step 3: the payload's fields.
  FIELD_MISSING: 3,
  FIELD_TYPE: 3,
  FIELD_LENGTH: 3,
  DIGEST_NOT_SUPPORTED: 3,
  TIMESTAMP_OUT_OF_RANGE: 3,
  PCR_COUNT: 3,
  PCR_INDEX: 3,
  PCR_LENGTH: 3,
  CABUNDLE_LENGTH: 3,

  // Step 4: the path from the pinned root to the leaf.
  ROOT_NOT_TRUSTED: 4,
  CERTIFICATE_MALFORMED: 4,
  CERTIFICATE_ALGORITHM: 4,
  CERTIFICATE_KEY: 4,
  ISSUER_MISMATCH: 4,
  CERTIFICATE_SIGNATURE_INVALID: 4,

  // Step 5: validity of every certificate.
  CERTIFICATE_NOT_YET_VALID: 5,
  CERTIFICATE_EXPIRED: 5,

  // Step 6: what each certificate may be used for.
  CRITICAL_EXTENSION_UNKNOWN: 6,
  BASIC_CONSTRAINTS: 6,
  PATH_TOO_LONG: 6,
  KEY_USAGE: 6,

  // Step 7: the document's own signature.
  SIGNATURE_INVALID: 7,

  // Step 8: freshness.
  NONCE_MISMATCH: 8,
  TOO_OLD: 8,
  FROM_FUTURE: 8,

  // Step 9: policy.
  DEBUG_MODE: 9,
  PCR_ABSENT: 9,
  PCR_MISMATCH: 9,
} as const satisfies Record<string, number>;

export type AttestationErrorCode = keyof typeof ATTESTATION_ERROR_STEPS;

/**
 * The document must not be trusted. Do not retry with the same document.
 *
 * Until step 7 has passed, `got` holds lengths, positions and words of ours only, never content that nobody has signed.
 */
export class AttestationError extends Error {
  override readonly name = "AttestationError";
  readonly code: AttestationErrorCode;
  readonly expected: string;
  readonly got: string;

  constructor(code: AttestationErrorCode, expected: string, got: string, options?: ErrorOptions) {
    super(`expected ${expected}, got ${got}`, options);
    this.code = code;
    this.expected = expected;
    this.got = got;
  }

  /** The step of docs/verify-an-attestation.md that refused; all before it passed. */
  get step(): number {
    return ATTESTATION_ERROR_STEPS[this.code];
  }
}
