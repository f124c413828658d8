export type SimulatorErrorCode =
  | "STATE_UNUSABLE"
  | "MANIFEST_OF_ANOTHER_KEY"
  | "PROCESS_FAILED"
  | "PROCESS_TIMEOUT"
  | "PARENT_FAILED"
  | "ENCLAVE_FAILED"
  | "BALANCER_FAILED"
  | "POSTGRES_ABSENT"
  | "DATABASE_INVALID"
  | "STOPPED"
  | "EMULATOR_MISSING"
  | "IMAGE_UNUSABLE";

/** The simulator cannot start, or a process of it has ended. */
export class SimulatorError extends Error {
  override readonly name = "SimulatorError";
  readonly code: SimulatorErrorCode;

  constructor(code: SimulatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
