/** What KMS answers instead of a result, with its HTTP status (nitro.md 4.2; AWS "Common errors" for the signature ones). */
const KMS_ERROR_STATUS = {
  // Who asks.
  MissingAuthenticationTokenException: 400,
  IncompleteSignatureException: 400,
  UnrecognizedClientException: 400,
  InvalidSignatureException: 400,
  ExpiredTokenException: 400,
  AccessDeniedException: 400,

  // What is asked.
  UnknownOperationException: 400,
  SerializationException: 400,
  ValidationException: 400,
  RequestEntityTooLargeException: 413,
  MalformedPolicyDocumentException: 400,
  AlreadyExistsException: 400,
  NotFoundException: 400,
  InvalidKeyUsageException: 400,
  InvalidGrantTokenException: 400,
  InvalidCiphertextException: 400,
  IncorrectKeyException: 400,
  DryRunOperationException: 400,
  DisabledException: 400,
  KMSInvalidStateException: 400,
  LimitExceededException: 400,
  UnsupportedOperationException: 400,
  InvalidAliasNameException: 400,
  InvalidGrantIdException: 400,
  InvalidMarkerException: 400,
  TagException: 400,

  ThrottlingException: 400,

  // Only from faults, and from our own mistakes.
  KMSInternalException: 500,
  DependencyTimeoutException: 500,
  KeyUnavailableException: 500,
} as const;

export type KmsErrorCode = keyof typeof KMS_ERROR_STATUS;

export function isKmsErrorCode(text: string): text is KmsErrorCode {
  return Object.hasOwn(KMS_ERROR_STATUS, text);
}

/** A refusal by the simulated KMS: over the wire as `__type`, and thrown by the calls that stand for the console. */
export class KmsError extends Error {
  override readonly name = "KmsError";
  readonly code: KmsErrorCode;
  /** For the log only: AWS does not tell its callers as much. Holds no secret. */
  readonly detail: string | null;

  constructor(code: KmsErrorCode, message: string, options?: ErrorOptions & { readonly detail?: string }) {
    super(message, options);
    this.code = code;
    this.detail = options?.detail ?? null;
  }

  get status(): number {
    return KMS_ERROR_STATUS[this.code];
  }
}

export type KmsStoreErrorCode = "STORE_UNREADABLE" | "STORE_MALFORMED" | "STORE_OF_ANOTHER_ACCOUNT" | "STORE_IN_USE";

/** The file of keys cannot be used. It is left as it was. */
export class KmsStoreError extends Error {
  override readonly name = "KmsStoreError";
  readonly code: KmsStoreErrorCode;

  constructor(code: KmsStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
