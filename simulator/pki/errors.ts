export type PkiErrorCode = "KEY_NOT_FOR_ALGORITHM" | "TIME_OUT_OF_RANGE" | "MALFORMED_OID" | "MALFORMED_VALUE";

/** A certificate that cannot be written as asked. Wrong but writable ones are written: tests need them. */
export class PkiError extends Error {
  override readonly name = "PkiError";
  readonly code: PkiErrorCode;

  constructor(code: PkiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
