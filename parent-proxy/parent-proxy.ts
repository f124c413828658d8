/** Wires the parent's parts together. It relays, stores and meters; no check that protects a key is here. */
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { CREDENTIALS_PORT, EGRESS_PORT, LOG_PORT, RECORDS_PORT } from "../protocol/index.ts";
import type { Vsock } from "../vsock/index.ts";
import type { AwsCredentials } from "./credentials/aws-credentials.ts";
import { serveCredentials } from "./credentials/serve-credentials.ts";
import { sharedCredentials } from "./credentials/shared-credentials.ts";
import { type EgressOptions, systemResolve } from "./egress/destination.ts";
import { createEgressServer } from "./egress/serve-egress.ts";
import { EnclaveConnection } from "./enclave-connection.ts";
import { createEnclaveLog } from "./enclave-logs.ts";
import { StartError } from "./errors.ts";
import { createHttpServer, type HttpServer } from "./http/http-server.ts";
import { DEFAULT_LIMITS, type ParentLimits } from "./limits.ts";
import { createMetrics } from "./metrics.ts";
import { openRecordStore, type RecordsOptions } from "./records/open-record-store.ts";
import type { RecordStore } from "./records/record-store.ts";
import { removeExpiredFrom } from "./records/remove-expired.ts";
import { serveRecords } from "./records/serve-records.ts";

/** How often the drain looks whether requests are still under way. */
const DRAIN_POLL_MS = 20;

export interface ParentProxyOptions {
  /** Taken over: closing the proxy closes it. */
  readonly vsock: Vsock;
  /** Port 0: a free one. */
  readonly http: {
    readonly host: string;
    readonly port: number;
    readonly trustedProxies?: readonly string[] | undefined;
  };
  readonly records: RecordsOptions;
  readonly egress: EgressOptions;
  /** Asked whenever the enclave asks. */
  readonly credentials: () => Promise<AwsCredentials>;
  readonly log: Logger;
  /** Each one missing here is {@link DEFAULT_LIMITS}'s. */
  readonly limits?: Partial<ParentLimits>;
}

export interface ParentProxy {
  readonly httpPort: number;
  /**
   * Stops gracefully: new requests are refused and `/readyz` says draining, those under way finish within the drain's
   * deadline, then everything is closed. A second call waits for the first.
   */
  close(): Promise<void>;
}

/**
 * Starts the parent's side of one enclave. It answers HTTP at once, whether or not the enclave is there yet.
 *
 * @throws {@link StartError}, or VsockError `PORT_IN_USE`. Nothing is left open, the vsock included.
 */
export async function startParentProxy(options: ParentProxyOptions): Promise<ParentProxy> {
  const { vsock, log } = options;
  const limits: ParentLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const metrics = createMetrics();
  const enclave = new EnclaveConnection(vsock, limits);
  let closing: Promise<void> | undefined;
  const http = createHttpServer({
    ...{ enclave, limits, metrics, log, trustedProxies: options.http.trustedProxies ?? [] },
    isDraining: () => closing !== undefined,
  });
  let store: RecordStore | undefined;
  let stopRemoving = async () => {};
  // The enclave's streams go before what they use.
  const closeAll = async () => {
    await http.app.close();
    enclave.close();
    await vsock.close();
    await stopRemoving();
    await store?.close();
    metrics.registry.clear();
  };

  try {
    const records = await openRecordStore(options.records, log);
    store = records;
    stopRemoving = removeExpiredFrom(records, log);
    const serveEgress = createEgressServer({ egress: options.egress, resolve: systemResolve, limits, metrics, log });
    const serveLogs = createEnclaveLog({ metrics, log, nowMs: Date.now });
    const credentials = sharedCredentials({
      fetch: options.credentials,
      nowMs: Date.now,
      log,
    });
    const ports: ReadonlyMap<number, (stream: Duplex) => void> = new Map([
      [RECORDS_PORT, (stream) => serveRecords(stream, { store: records, metrics, log })],
      [EGRESS_PORT, (stream) => void serveEgress(stream)],
      [CREDENTIALS_PORT, (stream) => serveCredentials(stream, { credentials, metrics })],
      [LOG_PORT, serveLogs],
    ]);
    for (const [port, accept] of ports) await vsock.listen(port, accept);
    const httpPort = await listen(http.app, options.http);
    return {
      httpPort,
      close: () => {
        closing ??= drain(http, limits.drainTimeoutMs).then(closeAll);
        return closing;
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function listen(http: FastifyInstance, address: ParentProxyOptions["http"]): Promise<number> {
  try {
    await http.listen({ host: address.host, port: address.port });
  } catch (cause) {
    const why = whyNotListening((cause as NodeJS.ErrnoException).code ?? "");
    throw new StartError("HTTP_UNAVAILABLE", `cannot listen on ${address.host}:${address.port}: ${why}`, { cause });
  }
  return (http.server.address() as AddressInfo).port;
}

function whyNotListening(code: string): string {
  switch (code) {
    case "EADDRINUSE":
      return "another process does; take another port, or stop it";
    case "EACCES":
      return "a port below 1024 takes a privilege; take a higher one";
    case "EADDRNOTAVAIL":
      return "the address is none of this machine's";
    default:
      return code;
  }
}

async function drain(http: HttpServer, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (http.underWay() > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }
}
