export type HostErrorCode =
  /** enclave.json is not what nitro-cli takes, or not JSON. */
  | "CONFIG_INVALID"
  /** It asks for a debug enclave, or one is running: its PCRs are zeros and the parent reads its console. */
  | "DEBUG_MODE"
  /** measurements.json is not what nitro-cli and `cloister eif` print. */
  | "MEASUREMENTS_INVALID"
  /** The image is not there, or is no EIF. */
  | "IMAGE_UNREADABLE"
  /** The image is not the one that measurements.json was made of: KMS would refuse it. */
  | "MEASUREMENTS_DIFFER"
  /** Under four times the image: it would die while it unpacks itself, and look as if it had not booted. */
  | "MEMORY_TOO_SMALL"
  /** nitro-cli is not there, said no, or said what it never says. */
  | "NITRO_CLI_FAILED";

/** What the supervisor and the doctor find wrong on the host. Nothing here protects a key: the host is not trusted. */
export class HostError extends Error {
  override readonly name = "HostError";
  readonly code: HostErrorCode;

  constructor(code: HostErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
