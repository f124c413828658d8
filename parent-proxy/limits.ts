/** What the parent allows, beyond the limits of the wire. Tests set smaller ones. */
export interface ParentLimits {
  /** HTTP connections at once; one over is closed unanswered, and so is one of who holds as many as are free. */
  readonly maxConnections: number;
  /** For the whole of a request to arrive: against clients that send a byte now and then. */
  readonly receiveTimeoutMs: number;
  /** For the whole of an answer to be taken: against clients that read a byte now and then, or none. */
  readonly sendTimeoutMs: number;
  /** Of answers that are not taken yet, in all. */
  readonly maxUnsentBytes: number;
  /**
   * Operations and attestations under way at once, from their headers to their answers' last byte; no address has more of
   * them than are free. The wire's own limit leaves room for `status`.
   */
  readonly maxInFlight: number;
  /** From a whole request to its answer. */
  readonly requestTimeoutMs: number;
  /** One `status` call for `/readyz`. */
  readonly statusTimeoutMs: number;
  /** From {@link ParentProxy.close} to the end of requests that are still under way. */
  readonly drainTimeoutMs: number;
  readonly maxEgressStreams: number;
  /** From the enclave's frame to a TCP connection, resolving the name included. */
  readonly egressConnectTimeoutMs: number;
  /** No byte in either direction. Over the keep-alive of KMS. */
  readonly egressIdleTimeoutMs: number;
}

export const DEFAULT_LIMITS: ParentLimits = {
  maxConnections: 4096,
  receiveTimeoutMs: 15_000,
  sendTimeoutMs: 15_000,
  maxUnsentBytes: 64 * 1024 * 1024,
  maxInFlight: 1000,
  requestTimeoutMs: 30_000,
  statusTimeoutMs: 2_000,
  drainTimeoutMs: 20_000,
  maxEgressStreams: 256,
  egressConnectTimeoutMs: 10_000,
  egressIdleTimeoutMs: 15 * 60_000,
};
