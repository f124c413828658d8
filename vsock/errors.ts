export type VsockErrorCode =
  | "PATH_TOO_LONG"
  | "PORT_IN_USE"
  | "CONNECT_REFUSED"
  | "CONNECT_TIMEOUT"
  | "HANDSHAKE_FAILED"
  | "CONNECTION_LOST"
  | "CALL_TIMEOUT"
  | "TOO_MANY_CALLS";

/** The stream between enclave and parent failed. Nothing is known about whether the other side acted on what was sent. */
export class VsockError extends Error {
  override readonly name = "VsockError";
  readonly code: VsockErrorCode;

  constructor(code: VsockErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
