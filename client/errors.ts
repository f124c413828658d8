import type { ErrorCode, JsonValue } from "../protocol/index.ts";

export type ClientErrorCode =
  | "UNREACHABLE"
  | "ATTESTATION_UNAVAILABLE"
  | "ATTESTATION_NOT_FOR_CALLERS"
  | "MANIFEST_MISMATCH"
  | "VAULT_MISMATCH"
  | "IMPORT_TARGET_MISMATCH"
  | "EXPORT_NOT_OPENED"
  | "ANSWER_NOT_SIGNED"
  | "ANSWER_SIGNATURE_INVALID"
  | "ANSWER_MALFORMED";

/** What came back cannot be taken for the enclave's word. Whether the request was acted on is unknown. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ClientErrorCode;

  constructor(code: ClientErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type CustodyErrorCode = "DEVICE_SHARE_MISSING" | "RECOVERY_FILE_MALFORMED" | "RECOVERY_FILE_NOT_OPENED";

/** A share that is not here, or that cannot be opened here. Nothing was asked of the enclave. */
export class CustodyError extends Error {
  override readonly name = "CustodyError";
  readonly code: CustodyErrorCode;

  constructor(code: CustodyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A request was refused. Branch on `code`; the message is for people.
 *
 * A refusal does not prove that nothing was done: a parent can show the enclave a request twice and hand over the second
 * answer, such as `REQUEST_REPLAYED` or `REQUEST_STALE`. Ask again with the same `requestId`.
 */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly code: ErrorCode;
  /** False for what the parent says (`PARENT_…`): it may be untrue, and proves nothing about the enclave. */
  readonly isFromEnclave: boolean;
  /** Of some codes, for programs (docs/protocol.md): the decision with `POLICY_DENIED`, what waits with `APPROVAL_REQUIRED`. */
  readonly details: JsonValue | undefined;
  /** How long the parent asks to wait (`Retry-After`). It may ask for anything: a hint, and to be bounded. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      readonly isFromEnclave: boolean;
      readonly details?: JsonValue | undefined;
      readonly retryAfterMs?: number | undefined;
    },
  ) {
    super(message);
    this.code = code;
    this.isFromEnclave = options.isFromEnclave;
    this.details = options.details;
    this.retryAfterMs = options.retryAfterMs;
  }
}
