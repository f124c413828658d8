/** With the HTTP status under which the token endpoint says it. */
const ISSUER_ERROR_STATUS = {
  INVALID_ISSUER: 400,
  INVALID_SUBJECT: 400,
  INVALID_AUDIENCE: 400,
  INVALID_NONCE: 400,
  UNKNOWN_FIELD: 400,
  MALFORMED_JSON: 400,
  NOT_LOCAL: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  BODY_TOO_LARGE: 413,
  NOT_JSON: 415,
  INTERNAL: 500,
} as const;

export type IssuerErrorCode = keyof typeof ISSUER_ERROR_STATUS;

/** The simulated issuer will not do this. */
export class IssuerError extends Error {
  override readonly name = "IssuerError";
  readonly code: IssuerErrorCode;

  constructor(code: IssuerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get status(): number {
    return ISSUER_ERROR_STATUS[this.code];
  }
}
