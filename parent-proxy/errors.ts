import { ERROR_CODES, type ParentErrorCode } from "../protocol/index.ts";

/** An answer that the parent makes itself. It is unsigned and proves nothing about the enclave. */
export class ParentError extends Error {
  override readonly name = "ParentError";
  readonly code: ParentErrorCode;

  constructor(code: ParentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  /** The body callers see: the enclave's form, without a request id, because the parent does not read the request. */
  toJSON(): unknown {
    return { requestId: null, error: { code: this.code, message: this.message } };
  }
}

export type StartErrorCode = "CONFIG_INVALID" | "RECORDS_UNUSABLE" | "RECORDS_SCHEMA_UNKNOWN" | "HTTP_UNAVAILABLE";

/** The parent process cannot start. Nothing is left open. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly code: StartErrorCode;

  constructor(code: StartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
