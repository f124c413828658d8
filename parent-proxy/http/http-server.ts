/** The HTTP face. It relays bytes and stamps and judges nothing: every check that protects a key is the enclave's. */
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Logger } from "pino";
import {
  ANSWER_SIGNATURE_HEADER,
  BOOT_HEADER,
  decodeAnswer,
  decodeHex,
  type EnclaveAnswer,
  type ErrorCode,
  encodeBase64url,
  encodeHex,
  MAX_ATTESTATION_NONCE_BYTES,
  MAX_BODY_BYTES,
  MAX_SEALED_BYTES,
  MIN_ATTESTATION_NONCE_BYTES,
} from "../../protocol/index.ts";
import type { EnclaveConnection, Readiness } from "../enclave-connection.ts";
import { ParentError } from "../errors.ts";
import type { ParentLimits } from "../limits.ts";
import { type Metrics, operationLabel } from "../metrics.ts";
import { allowAnyOrigin } from "./cors.ts";
import { FairShares, holderOf } from "./fair-shares.ts";
import { refuseMalformedHttp } from "./malformed-http.ts";
import { RETRY_AFTER, retryAfterOf } from "./retry-after.ts";
import { limitPipelining, shareConnections } from "./share-connections.ts";
import { stampsOf } from "./stamps.ts";
import { parseProxies } from "./trusted-proxies.ts";
import { UnsentAnswers } from "./unsent-answers.ts";

/** Sixteen stamps of 2 KiB, and what browsers and proxies add. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Over the 60 s of AWS load balancers, so that theirs ends first and no request meets a closing connection. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;

export interface HttpServerOptions {
  readonly enclave: EnclaveConnection;
  readonly limits: ParentLimits;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly isDraining: () => boolean;
  /** Whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

export interface HttpServer {
  readonly app: FastifyInstance;
  /** Requests to the enclave that are not answered to their last byte. */
  readonly underWay: () => number;
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { enclave, limits, metrics, log, isDraining } = options;
  let underWay = 0;
  const shares = new FairShares(limits.maxInFlight);
  /** Of each request under way: gives its place back, once for the client and once for the enclave. */
  const places = new WeakMap<FastifyRequest, Place>();
  const isTrustedProxy = parseProxies(options.trustedProxies) ?? (() => false);
  const sendError = (reply: FastifyReply, error: ParentError) => {
    const body = Buffer.from(JSON.stringify(error));
    markError(reply, error.status, error.code);
    reply.status(error.status).header("content-type", "application/json").send(body);
  };
  const markError = (reply: FastifyReply, status: number, code: ErrorCode | undefined) => {
    metrics.errors.inc({ code: code ?? "other" });
    const retryAfter = retryAfterOf(status, code);
    if (retryAfter !== undefined) reply.header(RETRY_AFTER, retryAfter);
  };
  const sendAnswer = (reply: FastifyReply, answer: EnclaveAnswer, type: string) => {
    if (answer.boot !== undefined) reply.header(BOOT_HEADER, encodeHex(answer.boot));
    if (answer.signature !== null) reply.header(ANSWER_SIGNATURE_HEADER, encodeBase64url(answer.signature));
    if (answer.status >= 400) markError(reply, answer.status, errorCodeOf(answer.body));
    return reply.status(answer.status).header("content-type", type).send(Buffer.from(answer.body));
  };
  const onCut = (reason: string) => metrics.connectionsCut.inc({ reason });
  const unsent = new UnsentAnswers({ ...limits, onCut });
  const server = fastify({
    trustProxy: (address) => isTrustedProxy(address),
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: limits.receiveTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: true,
    // The drain is ours: `/healthz`, `/readyz` and `/metrics` answer until the end.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.receiveTimeoutMs,
      // How often Node looks for late requests; its own 30 s would double the deadline.
      connectionsCheckingInterval: Math.ceil(limits.receiveTimeoutMs / 8),
    },
    clientErrorHandler: refuseMalformedHttp,
    frameworkErrors: (_error, _request, reply) => {
      sendError(reply, new ParentError("PARENT_NOT_FOUND", "no such path"));
    },
  });
  server.server.maxConnections = limits.maxConnections;
  shareConnections(server.server, { maxConnections: limits.maxConnections, isTrustedProxy, onCut });
  limitPipelining(server.server, onCut);

  // Bytes stay bytes whatever the client calls them, and a type that no parser understands is no reason to refuse them.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  allowAnyOrigin(server);
  server.addHook("onRequest", async (request, reply) => {
    delete request.raw.headers["content-type"];
    if (!isRelayed(request)) return;
    // Before the body: a request that began before the drain is answered in full.
    if (isDraining()) {
      reply.header("connection", "close");
      throw new ParentError("PARENT_DRAINING", "the parent is being stopped");
    }
    const holder = holderOf(request.ip);
    const outcome = shares.take(holder);
    if (outcome !== "taken") {
      metrics.refusals.inc({ reason: outcome });
      throw outcome === "full"
        ? new ParentError("PARENT_BUSY", `${limits.maxInFlight} requests are under way already`)
        : new ParentError("PARENT_OVER_SHARE", "your address has as many requests under way as there are places left");
    }
    const place = placeOf(() => shares.release(holder));
    places.set(request, place);
    underWay += 1;
    reply.raw.once("close", () => {
      underWay -= 1;
      place.leave();
    });
  });
  server.addHook("onSend", async (_request, reply, payload) => {
    const bytes = typeof payload === "string" || payload instanceof Uint8Array ? payload.length : 0;
    unsent.watch(reply.raw, bytes);
    return payload;
  });

  server.setErrorHandler((error: FastifyError | ParentError, _request, reply) => {
    const refusal = error instanceof ParentError ? error : asParentError(error);
    if (refusal.code === "PARENT_INTERNAL") log.error({ err: refusal.cause ?? refusal }, "a request failed");
    sendError(reply, refusal);
  });
  server.setNotFoundHandler((_request, reply) => {
    sendError(reply, new ParentError("PARENT_NOT_FOUND", "expected POST /v1/<operation> or GET /v1/attestation"));
  });

  async function relay(
    operation: string,
    request: FastifyRequest,
    reply: FastifyReply,
    call: Parameters<EnclaveConnection["relay"]>[0],
  ) {
    const label = operationLabel(operation);
    const stopTimer = metrics.requestSeconds.startTimer({ operation: label });
    metrics.requestsInFlight.inc();
    // A client that goes away leaves its request with the enclave, and keeps its place until that has answered.
    const place = places.get(request);
    place?.enter();
    try {
      return await enclave.relay(call);
    } finally {
      place?.leave();
      metrics.requestsInFlight.dec();
      stopTimer();
      reply.header("cache-control", "no-store");
    }
  }

  server.post<{ Params: { operation: string } }>("/v1/:operation", async (request, reply) => {
    const { operation } = request.params;
    // A hint for metrics and access logs alone; the body says what is asked.
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(operation)) throw new ParentError("PARENT_NOT_FOUND", "no such operation");
    const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
    const stamps = stampsOf(request.headers);
    const answer = await relay(operation, request, reply, { kind: "operation", stamps, body });
    return sendAnswer(reply, answer, "application/json");
  });

  // Whatever it holds: operation and stamps are inside, and out of the parent's sight.
  server.post("/v1/sealed", { bodyLimit: MAX_SEALED_BYTES }, async (request, reply) => {
    const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
    const answer = await relay("sealed", request, reply, { kind: "sealed", body });
    return sendAnswer(reply, answer, answer.signature === null ? "application/octet-stream" : "application/json");
  });

  server.get<{ Querystring: { nonce?: unknown } }>("/v1/attestation", async (request, reply) => {
    const nonce = nonceOf(request.query.nonce);
    const answer = await relay("attestation", request, reply, { kind: "attestation", nonce });
    return sendAnswer(reply, answer, answer.status === 200 ? "application/cose" : "application/json");
  });

  server.addHook("onResponse", async (request, reply) => {
    if (!isRelayed(request)) return;
    const { operation = request.method === "POST" ? "sealed" : "attestation" } = request.params as {
      operation?: string;
    };
    metrics.requests.inc({ operation: operationLabel(operation), status: reply.statusCode });
  });

  server.get("/healthz", async () => ({ status: "alive" }));
  server.get("/readyz", async (_request, reply) => {
    const readiness: Readiness = isDraining() ? { enclave: "draining", reason: null } : await enclave.readiness();
    metrics.enclaveLoad.set({ state: "waiting" }, readiness.load?.waiting ?? 0);
    metrics.enclaveLoad.set({ state: "running" }, readiness.load?.running ?? 0);
    if (enclave.boot !== null) reply.header(BOOT_HEADER, encodeHex(enclave.boot));
    return reply.status(readiness.enclave === "ready" ? 200 : 503).send(readiness);
  });
  server.get("/metrics", async (_request, reply) => {
    metrics.unsentBytes.set(unsent.bytes);
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  return { app: server, underWay: () => underWay };
}

/** Probes and preflights are none of the enclave's. */
function isRelayed(request: FastifyRequest): boolean {
  return request.method !== "OPTIONS" && request.routeOptions.url?.startsWith("/v1/") === true;
}

interface Place {
  readonly enter: () => void;
  readonly leave: () => void;
}

/** @param release - Called when as many have left as have entered. The first has already. */
function placeOf(release: () => void): Place {
  let inside = 1;
  return {
    enter: () => {
      inside += 1;
    },
    leave: () => {
      inside -= 1;
      if (inside === 0) release();
    },
  };
}

/** Undefined for what is no error answer of this protocol, so that there are no more labels than codes. */
function errorCodeOf(body: Uint8Array): ErrorCode | undefined {
  try {
    const answer = decodeAnswer(body);
    return "error" in answer ? answer.error.code : undefined;
  } catch {
    return undefined;
  }
}

function asParentError(error: FastifyError): ParentError {
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new ParentError("PARENT_BODY_TOO_LARGE", `a body of more than ${MAX_BODY_BYTES} bytes`);
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new ParentError("PARENT_INVALID_REQUEST", "not a proper HTTP request", { cause: error });
  }
  return new ParentError("PARENT_INTERNAL", "the parent failed; its log says why", { cause: error });
}

function nonceOf(text: unknown): Uint8Array {
  const range = `${MIN_ATTESTATION_NONCE_BYTES} to ${MAX_ATTESTATION_NONCE_BYTES} bytes in hex`;
  try {
    const nonce = decodeHex(String(text));
    if (nonce.length >= MIN_ATTESTATION_NONCE_BYTES && nonce.length <= MAX_ATTESTATION_NONCE_BYTES) return nonce;
  } catch (cause) {
    throw new ParentError("PARENT_INVALID_REQUEST", `expected ?nonce=, ${range}`, { cause });
  }
  throw new ParentError("PARENT_INVALID_REQUEST", `expected ?nonce=, ${range}`);
}
