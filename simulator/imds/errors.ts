export type ImdsErrorCode = "INVALID_ROLE_NAME" | "INVALID_LIFETIME" | "INVALID_TROUBLE";

/** The simulated metadata service cannot be what was asked for. */
export class ImdsError extends Error {
  override readonly name = "ImdsError";
  readonly code: ImdsErrorCode;

  constructor(code: ImdsErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
