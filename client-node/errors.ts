export type KeyFileErrorCode =
  | "KEY_FILE_EXISTS"
  | "KEY_FILE_UNREADABLE"
  | "KEY_FILE_EXPOSED"
  | "KEY_FILE_MALFORMED"
  | "PASSPHRASE_WRONG";

/** A key file cannot be used. The message names the file, never what is in it. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
  readonly code: KeyFileErrorCode;

  constructor(code: KeyFileErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
