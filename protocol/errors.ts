import type { JsonValue } from "./strict-json.ts";

/**
 * Every code that a caller can meet, with the HTTP status it travels under and whether the same call may succeed
 * later without any change by the caller. Codes are stable: callers branch on them, never on the message.
 */
export const ERROR_CODES = {
  // The body and its envelope.
  MALFORMED_JSON: { status: 400, retry: false },
  INVALID_REQUEST: { status: 400, retry: false },
  UNKNOWN_OPERATION: { status: 404, retry: false },
  INVALID_PARAMS: { status: 400, retry: false },
  BODY_TOO_LARGE: { status: 413, retry: false },
  WRONG_AUDIENCE: { status: 403, retry: false },

  // Sealing.
  SEALED_MALFORMED: { status: 400, retry: false },
  SEALED_NOT_OPENED: { status: 400, retry: false },
  SEALED_FOR_ANOTHER_BOOT: { status: 409, retry: false },

  // For which boot of an enclave.
  STAMPED_FOR_ANOTHER_BOOT: { status: 409, retry: false },

  // Who asks.
  STAMP_MISSING: { status: 401, retry: false },
  STAMP_MALFORMED: { status: 400, retry: false },
  STAMP_INVALID: { status: 401, retry: false },
  STAMP_UNEXPECTED: { status: 400, retry: false },
  NOT_ENOUGH_ADMINISTRATORS: { status: 403, retry: false },
  SESSION_UNKNOWN: { status: 401, retry: false },
  SESSION_EXPIRED: { status: 401, retry: false },
  SESSION_KEY_TAKEN: { status: 409, retry: false },
  CALLER_NOT_ALLOWED: { status: 403, retry: false },
  OUT_OF_SCOPE: { status: 403, retry: false },

  // When it was asked.
  REQUEST_STALE: { status: 409, retry: false },
  REQUEST_FROM_FUTURE: { status: 409, retry: false },
  REQUEST_REPLAYED: { status: 409, retry: false },

  // Login.
  JWT_MALFORMED: { status: 401, retry: false },
  JWT_ISSUER_UNKNOWN: { status: 401, retry: false },
  JWT_ALGORITHM_NOT_ALLOWED: { status: 401, retry: false },
  JWT_KEY_UNKNOWN: { status: 401, retry: false },
  JWT_SIGNATURE_INVALID: { status: 401, retry: false },
  JWT_AUDIENCE_MISMATCH: { status: 401, retry: false },
  JWT_CLAIM_INVALID: { status: 401, retry: false },
  JWT_EXPIRED: { status: 401, retry: false },
  JWT_NOT_YET_VALID: { status: 401, retry: false },
  JWT_REVOKED: { status: 401, retry: false },
  JWT_NONCE_MISMATCH: { status: 401, retry: false },
  JWKS_UNAVAILABLE: { status: 503, retry: true },

  // Passkeys.
  PASSKEYS_NOT_ALLOWED: { status: 403, retry: false },
  PASSKEY_UNKNOWN: { status: 401, retry: false },
  PASSKEY_MALFORMED: { status: 400, retry: false },
  PASSKEY_TYPE_MISMATCH: { status: 401, retry: false },
  PASSKEY_CHALLENGE_MISMATCH: { status: 401, retry: false },
  PASSKEY_ORIGIN_NOT_ALLOWED: { status: 401, retry: false },
  PASSKEY_RP_MISMATCH: { status: 401, retry: false },
  PASSKEY_USER_NOT_VERIFIED: { status: 401, retry: false },
  PASSKEY_ALGORITHM_NOT_ALLOWED: { status: 400, retry: false },
  PASSKEY_ATTESTATION_UNSUPPORTED: { status: 400, retry: false },
  PASSKEY_SIGNATURE_INVALID: { status: 401, retry: false },
  PASSKEY_COUNTER_REGRESSED: { status: 401, retry: false },
  PASSKEY_TAKEN: { status: 409, retry: false },
  PASSKEY_NOT_FOUND: { status: 404, retry: false },
  TOO_MANY_PASSKEYS: { status: 409, retry: false },

  // One-time passwords.
  SEALING_REQUIRED: { status: 400, retry: false },
  SECOND_FACTOR_REQUIRED: { status: 401, retry: false },
  SECOND_FACTOR_INVALID: { status: 401, retry: false },
  SECOND_FACTOR_LOCKED: { status: 429, retry: false },
  SECOND_FACTOR_NOT_ENROLLED: { status: 403, retry: false },
  TOTP_ENROLLED: { status: 409, retry: false },
  TOTP_NOT_ENROLLED: { status: 409, retry: false },

  // Identities.
  IDENTITY_TAKEN: { status: 409, retry: false },
  IDENTITY_NOT_FOUND: { status: 404, retry: false },
  LAST_IDENTITY: { status: 409, retry: false },
  TOO_MANY_IDENTITIES: { status: 409, retry: false },

  // What it names.
  APP_NOT_FOUND: { status: 404, retry: false },
  APP_VERSION_CONFLICT: { status: 409, retry: false },
  APP_KEY_NOT_FOUND: { status: 404, retry: false },
  WALLET_NOT_FOUND: { status: 404, retry: false },
  ACCOUNT_NOT_FOUND: { status: 404, retry: false },
  TOO_MANY_ACCOUNTS: { status: 409, retry: false },

  // Split custody.
  SHARE_REQUIRED: { status: 401, retry: false },
  SHARE_UNEXPECTED: { status: 400, retry: false },
  SHARE_MALFORMED: { status: 400, retry: false },
  SHARE_OF_ANOTHER_WALLET: { status: 403, retry: false },
  SHARE_OUTDATED: { status: 409, retry: false },
  SHARE_CHANGED: { status: 403, retry: false },
  SHARE_KEY_MALFORMED: { status: 400, retry: false },
  WALLET_NOT_SPLIT: { status: 409, retry: false },
  RECOVERY_SHARE_EXPORTED: { status: 409, retry: false },
  LOGIN_NOT_FRESH: { status: 403, retry: false },
  LOGIN_HOLDS_DEVICE_SHARE: { status: 403, retry: false },
  LOGIN_TOO_NEW: { status: 403, retry: false },
  // Secrets that come and go.
  WALLET_KIND_MISMATCH: { status: 409, retry: false },
  WALLET_NOT_EXPORTED: { status: 409, retry: false },
  EXPORT_RECIPIENT_INVALID: { status: 400, retry: false },
  IMPORT_TARGET_UNKNOWN: { status: 404, retry: false },
  IMPORT_TARGET_USED: { status: 409, retry: false },
  IMPORT_TARGET_EXPIRED: { status: 409, retry: false },
  IMPORT_BUNDLE_INVALID: { status: 400, retry: false },
  MNEMONIC_INVALID: { status: 400, retry: false },
  PRIVATE_KEY_INVALID: { status: 400, retry: false },

  // What is to be signed.
  TRANSACTION_MALFORMED: { status: 400, retry: false },
  TRANSACTION_TYPE_UNSUPPORTED: { status: 400, retry: false },
  AMOUNT_UNVERIFIED: { status: 400, retry: false },
  SIGHASH_NOT_ALLOWED: { status: 400, retry: false },
  NOTHING_TO_SIGN: { status: 400, retry: false },
  CHAIN_MISMATCH: { status: 400, retry: false },
  TYPED_DATA_MALFORMED: { status: 400, retry: false },
  ENTRY_POINT_MISMATCH: { status: 400, retry: false },
  TRANSACTION_SIGNATURE_INVALID: { status: 400, retry: false },
  MESSAGE_MALFORMED: { status: 400, retry: false },
  NOT_A_SIGNER: { status: 400, retry: false },
  SCHEME_MISMATCH: { status: 400, retry: false },
  NOT_RAW: { status: 400, retry: false },
  POLICY_DENIED: { status: 403, retry: false },
  POLICY_VERSION_CONFLICT: { status: 409, retry: false },
  POLICY_GUARDED: { status: 403, retry: false },
  TOO_MANY_POLICIES: { status: 409, retry: false },

  // What others are to agree to.
  APPROVAL_REQUIRED: { status: 403, retry: false },
  TOO_MANY_APPROVALS: { status: 409, retry: false },
  APPROVAL_NOT_FOUND: { status: 404, retry: false },
  APPROVAL_MISMATCH: { status: 409, retry: false },
  APPROVAL_EXPIRED: { status: 409, retry: false },
  APPROVAL_REJECTED: { status: 403, retry: false },
  APPROVAL_COLLECTED: { status: 409, retry: false },
  NOT_AN_APPROVER: { status: 403, retry: false },
  ALREADY_APPROVED: { status: 409, retry: false },

  // Records, which the parent keeps and the enclave does not trust.
  RECORD_TAMPERED: { status: 502, retry: false },
  RECORD_ROLLED_BACK: { status: 502, retry: false },
  RECORD_CONFLICT: { status: 409, retry: true },
  RECORDS_UNAVAILABLE: { status: 503, retry: true },

  // KMS, which the vault's rotation asks.
  KMS_FAILED: { status: 503, retry: true },

  // The enclave itself.
  NOT_READY: { status: 503, retry: true },
  BUSY: { status: 429, retry: true },
  WORKER_FAILED: { status: 503, retry: true },
  ANSWER_TOO_LARGE: { status: 413, retry: false },
  INTERNAL: { status: 500, retry: false },

  // Said by the parent, unsigned: they prove nothing about the enclave.
  PARENT_INVALID_REQUEST: { status: 400, retry: false },
  PARENT_NOT_FOUND: { status: 404, retry: false },
  PARENT_BODY_TOO_LARGE: { status: 413, retry: false },
  PARENT_OVER_SHARE: { status: 429, retry: true },
  PARENT_BUSY: { status: 503, retry: true },
  PARENT_INTERNAL: { status: 500, retry: false },
  PARENT_ENCLAVE_UNREACHABLE: { status: 503, retry: true },
  PARENT_DRAINING: { status: 503, retry: true },
  PARENT_TIMEOUT: { status: 504, retry: true },
} as const satisfies Record<string, { readonly status: number; readonly retry: boolean }>;

export type ErrorCode = keyof typeof ERROR_CODES;
export type ParentErrorCode = Extract<ErrorCode, `PARENT_${string}`>;
export type EnclaveErrorCode = Exclude<ErrorCode, ParentErrorCode>;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** A request that the enclave refuses. The message goes to the caller: it holds no secret and no record's content. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: EnclaveErrorCode;
  /** What a program can make something of; to the caller, like the message. */
  readonly details: JsonValue | undefined;

  constructor(code: EnclaveErrorCode, message: string, options?: ErrorOptions & { readonly details?: JsonValue }) {
    super(message, options);
    this.code = code;
    this.details = options?.details;
  }
}

export type ProtocolErrorCode =
  | "MALFORMED_HEX"
  | "MALFORMED_BASE64URL"
  | "MALFORMED_JSON"
  | "MALFORMED_MESSAGE"
  | "MALFORMED_STAMP"
  | "MALFORMED_ATTESTED_KEYS"
  | "MALFORMED_SEALED"
  | "SEALED_REQUEST_INVALID"
  | "SEALED_ANSWER_INVALID"
  | "MALFORMED_SHARE"
  | "MALFORMED_SHARE_KEY"
  | "SHARE_NOT_OPENED"
  | "SHARES_OF_TWO_WALLETS"
  | "SHARES_OF_TWO_SETS"
  | "SHARE_TWICE"
  | "SHARES_DO_NOT_FIT"
  | "BUNDLE_INVALID"
  | "BUNDLE_RECIPIENT_INVALID"
  | "FRAME_TOO_LARGE"
  | "FRAME_EMPTY"
  | "FRAME_TRUNCATED";

/** Bytes that are not what the wire format says. The connection they came on must not be used further. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
