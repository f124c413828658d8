export type StartErrorCode =
  | "USAGE"
  | "MANIFEST_MISSING"
  | "MANIFEST_INVALID"
  | "TLS_ROOTS_INVALID"
  | "NSM_FAILED"
  | "NSM_RANDOMNESS_BAD"
  | "CREDENTIALS_UNAVAILABLE"
  | "EGRESS_REFUSED"
  | "KMS_UNAVAILABLE"
  | "KMS_ACCESS_DENIED"
  | "KMS_REFUSED"
  | "KMS_REPLY_INVALID"
  | "VAULT_INVALID"
  | "RECORDS_UNAVAILABLE";

/** What may be better a moment later: the parent or KMS was away. Everything else ends the start. */
const WORTH_RETRYING: ReadonlySet<StartErrorCode> = new Set([
  "CREDENTIALS_UNAVAILABLE",
  "EGRESS_REFUSED",
  "KMS_UNAVAILABLE",
  "RECORDS_UNAVAILABLE",
]);

/** The enclave cannot become ready. The message goes to the operator: it holds no secret. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly code: StartErrorCode;

  constructor(code: StartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get isWorthRetrying(): boolean {
    return WORTH_RETRYING.has(this.code);
  }
}
