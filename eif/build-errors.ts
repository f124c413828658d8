/** Every reason to refuse a build whose image can be read. Codes are stable; docs/eif-build.md says what to do about each. */
export type BuildErrorCode =
  // The archive that the kernel unpacks.
  | "FILE_TOO_LARGE"
  | "PATH_TOO_LONG"
  | "RESERVED_NAME"
  // What an enclave image must have.
  | "NO_INIT"
  | "DEV_NOT_DIRECTORY"
  | "CONFIGURATION_CONFLICT"
  | "NO_COMMAND"
  | "COMMAND_NEWLINE"
  // The kernel.
  | "KERNEL_UNKNOWN"
  | "KERNEL_ARCHITECTURE"
  // What the outcome depends on.
  | "ZSTD_VERSION"
  | "METADATA_CONFLICT";

export class BuildError extends Error {
  override readonly name = "BuildError";
  readonly code: BuildErrorCode;

  constructor(code: BuildErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
