import type { Duplex } from "node:stream";

/**
 * One side of the byte streams between enclave and parent. The unix-socket form is `unix-socket.ts`; AF_VSOCK, which
 * Node's own `net` cannot open, is `af-vsock.ts`, a native addon behind this same interface, and splits its writes below
 * 31 KiB.
 */
export interface Vsock {
  /**
   * Opens a stream to a port of the other side. Half-open streams are allowed: an end in one direction leaves the other.
   *
   * @param options.timeoutMs - From the call to the stream being open; later silence is the caller's affair.
   * @throws {@link VsockError} `CONNECT_REFUSED` where nobody listens, `CONNECT_TIMEOUT`, and `HANDSHAKE_FAILED` where
   *   what answers does not speak the handshake.
   */
  connect(port: number, options: { readonly timeoutMs: number }): Promise<Duplex>;

  /**
   * Accepts streams from the other side, and from nobody else.
   *
   * @throws {@link VsockError} `PORT_IN_USE`
   */
  listen(port: number, accept: (stream: Duplex) => void): Promise<VsockListener>;

  /** Stops listening on every port and destroys every stream, for good. */
  close(): Promise<void>;
}

export interface VsockListener {
  readonly port: number;
  /** Stops accepting; streams that are open stay open. */
  close(): Promise<void>;
}
