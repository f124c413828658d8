/** What Prometheus reads. Every label's values are bounded: nobody outside can make a new series. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { isOperationName } from "../protocol/index.ts";

export interface Metrics {
  readonly registry: Registry;
  readonly requests: Counter<"operation" | "status">;
  readonly errors: Counter<"code">;
  readonly requestSeconds: Histogram<"operation">;
  readonly requestsInFlight: Gauge;
  readonly refusals: Counter<"reason">;
  readonly connectionsCut: Counter<"reason">;
  readonly unsentBytes: Gauge;
  readonly enclaveLoad: Gauge<"state">;
  readonly egressStreams: Gauge<"destination">;
  readonly egressAnswers: Counter<"destination" | "answer">;
  readonly egressBytes: Counter<"destination" | "direction">;
  readonly egressConnectSeconds: Histogram<"destination">;
  readonly egressConnectFailures: Counter<"destination">;
  readonly recordsCalls: Counter<"call" | "answer">;
  readonly credentialsCalls: Counter<"answer">;
  readonly logLines: Counter<"fate">;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    requests: new Counter({
      name: "cloister_requests_total",
      help: "Requests answered, by operation and HTTP status",
      labelNames: ["operation", "status"],
      registers,
    }),
    errors: new Counter({
      name: "cloister_error_answers_total",
      help: "Answers that are errors, by code; what is inside sealed answers and batches is not seen here",
      labelNames: ["code"],
      registers,
    }),
    requestSeconds: new Histogram({
      name: "cloister_request_seconds",
      help: "Time from a whole request to its answer",
      labelNames: ["operation"],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
      registers,
    }),
    requestsInFlight: new Gauge({
      name: "cloister_requests_in_flight",
      help: "Requests that wait for the enclave",
      registers,
    }),
    refusals: new Counter({
      name: "cloister_refusals_total",
      help: "Requests refused by the parent for want of room: over the share of their address, or all places taken",
      labelNames: ["reason"],
      registers,
    }),
    connectionsCut: new Counter({
      name: "cloister_http_connections_cut_total",
      help: "HTTP connections closed: slow readers, too many unsent bytes, requests pipelined, connections of one address",
      labelNames: ["reason"],
      registers,
    }),
    unsentBytes: new Gauge({
      name: "cloister_unsent_answer_bytes",
      help: "Bytes of answers that their clients have not taken yet",
      registers,
    }),
    enclaveLoad: new Gauge({
      name: "cloister_enclave_load",
      help: "Requests in the enclave that wait for their turn, and that are under way, when readiness was last asked",
      labelNames: ["state"],
      registers,
    }),
    egressStreams: new Gauge({
      name: "cloister_egress_streams",
      help: "Open streams from the enclave to a destination",
      labelNames: ["destination"],
      registers,
    }),
    egressAnswers: new Counter({
      name: "cloister_egress_answers_total",
      help: "Answers to the enclave's wish to connect; destinations outside the allow-list count as other",
      labelNames: ["destination", "answer"],
      registers,
    }),
    egressBytes: new Counter({
      name: "cloister_egress_bytes_total",
      help: "Bytes relayed between the enclave and a destination",
      labelNames: ["destination", "direction"],
      registers,
    }),
    egressConnectSeconds: new Histogram({
      name: "cloister_egress_connect_seconds",
      help: "Time from the enclave's wish to an open connection, looking up the name included",
      labelNames: ["destination"],
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    egressConnectFailures: new Counter({
      name: "cloister_egress_connect_failures_total",
      help: "Addresses of a destination that refused or did not answer; another one may have",
      labelNames: ["destination"],
      registers,
    }),
    recordsCalls: new Counter({
      name: "cloister_records_calls_total",
      help: "Calls of the enclave to the records store",
      labelNames: ["call", "answer"],
      registers,
    }),
    credentialsCalls: new Counter({
      name: "cloister_credentials_calls_total",
      help: "Calls of the enclave for AWS credentials",
      labelNames: ["answer"],
      registers,
    }),
    logLines: new Counter({
      name: "cloister_enclave_log_lines_total",
      help: "Log lines of the enclave: printed, dropped by the rate limit, or malformed",
      labelNames: ["fate"],
      registers,
    }),
  };
}

/** The path of a request is anybody's to choose. */
export function operationLabel(name: string): string {
  return isOperationName(name) || name === "attestation" || name === "sealed" ? name : "other";
}
