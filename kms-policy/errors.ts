export type KeyPolicyErrorCode =
  | "INVALID_ACCOUNT"
  | "INVALID_ARN"
  | "PRINCIPAL_CONFLICT"
  | "INVALID_PCR"
  | "WEAK_PCR_SET"
  | "TOO_MANY_SETS"
  | "POLICY_TOO_LARGE"
  | "NOTHING_TO_ROTATE"
  | "INVALID_KEY_ID";

/** What was given makes no policy. Nothing was generated. */
export class KeyPolicyError extends Error {
  override readonly name = "KeyPolicyError";
  readonly code: KeyPolicyErrorCode;

  constructor(code: KeyPolicyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
