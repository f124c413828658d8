export type NsmSimulatorErrorCode =
  | "INVALID_PCR"
  | "INVALID_MODULE_ID"
  | "PATH_TOO_LONG"
  | "UNREACHABLE"
  | "CONNECTION_LOST";

/** The simulated module is set up wrongly or cannot be reached. What a request gets wrong, its response says instead. */
export class NsmSimulatorError extends Error {
  override readonly name = "NsmSimulatorError";
  readonly code: NsmSimulatorErrorCode;

  constructor(code: NsmSimulatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
