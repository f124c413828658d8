/** One request, from its bytes to its signed answer. */
import type { KeyObject } from "node:crypto";
import {
  ACCESS,
  type Access,
  type AppOperation,
  audienceOf,
  decodeRequest,
  describeIssues,
  ERROR_CODES,
  isOperationName,
  MAX_ANSWER_BYTES,
  OPERATIONS,
  type OperationName,
  type Params,
  ProtocolError,
  type RequestEnvelope,
  RequestError,
  type Result,
} from "../protocol/index.ts";
import { type ReceivedRequest, type SignedAnswer, signAnswer } from "./answer.ts";
import { type AppRequest, authorise } from "./auth/authorise.ts";
import {
  appRequestOf,
  bothStamps,
  type ReceivedInApp,
  readStamps,
  soleStamp,
  stampedByKeys,
} from "./auth/request-stamps.ts";
import type { StampVerifier } from "./auth/verify-stamp.ts";
import type { Log } from "./log.ts";
import { APP_HANDLERS, type AppHandlers } from "./operations/app-handlers.ts";
import { createApp, getApp, listApps, rotateAppKey, updateApp } from "./operations/apps.ts";
import type { Services } from "./operations/handler.ts";
import { refreshSession, registerSession } from "./operations/logins.ts";
import { lookAnew } from "./operations/look-anew.ts";
import { registerSessionWithPasskey } from "./operations/passkeys.ts";
import { resetPolicy } from "./operations/policies.ts";
import { rotateVault, vaultStatus } from "./operations/vault.ts";
import { asRefusal } from "./refusal.ts";
import type { SealedRequests } from "./sealed/sealed-requests.ts";

export interface RequestHandlerOptions {
  /** Ed25519, of this boot. */
  readonly answerKey: KeyObject;
  /** This boot's key id, as requests name it. */
  readonly boot: string;
  readonly stamps: StampVerifier;
  readonly sealedRequests: Pick<SealedRequests, "open">;
  readonly services: Services;
  readonly log: Log;
}

export class RequestHandler {
  readonly #options: RequestHandlerOptions;

  constructor(options: RequestHandlerOptions) {
    this.#options = options;
  }

  /** Never rejects: a refusal is an answer, and signed like one. */
  async handle(request: ReceivedRequest): Promise<SignedAnswer> {
    const { answerKey, log } = this.#options;
    const startedAt = performance.now();
    let requestId: string | null = null;
    let operation: OperationName | "unknown" = "unknown";
    try {
      const envelope = decodeEnvelope(request.body);
      requestId = envelope.requestId;
      if (request.sealedFor !== undefined && request.sealedFor !== envelope.audience) {
        throw new RequestError("WRONG_AUDIENCE", "sealed for another audience than it is addressed to");
      }
      operation = knownOperation(envelope.operation);
      const result = await this.#run(operation, envelope, request);
      const answer = signAnswer(answerKey, request, 200, { requestId, result });
      if (answer.body.length > MAX_ANSWER_BYTES) throw tooLarge(answer.body.length);
      log.info("request", { operation, status: 200, durationMs: elapsedMs(startedAt) });
      return answer;
    } catch (error) {
      const { code, message, details } = asRefusal(error);
      const { status } = ERROR_CODES[code];
      log[status >= 500 ? "error" : "info"]("request", { operation, status, code, durationMs: elapsedMs(startedAt) });
      // JSON leaves out what is undefined.
      return signAnswer(answerKey, request, status, { requestId, error: { code, message, details } });
    }
  }

  /** As {@link handle}, for what came sealed; `handle` has what was inside. What cannot be opened is refused in the open: nobody could read it else. */
  async handleSealed(
    sealed: Uint8Array,
    handle: (request: ReceivedRequest) => Promise<SignedAnswer> = (request) => this.handle(request),
  ): Promise<SignedAnswer | { readonly status: 200; readonly body: Uint8Array; readonly signature: null }> {
    const { answerKey, log, sealedRequests } = this.#options;
    try {
      const { request, seal } = await sealedRequests.open(sealed);
      return { status: 200, body: await seal(await handle(request)), signature: null };
    } catch (error) {
      const { code, message } = asRefusal(error);
      const { status } = ERROR_CODES[code];
      log.info("request", { operation: "sealed", status, code });
      return signAnswer(answerKey, { body: sealed, stamps: [] }, status, { requestId: null, error: { code, message } });
    }
  }

  async #run(name: OperationName, envelope: RequestEnvelope, received: ReceivedRequest): Promise<object> {
    const { services } = this.#options;
    const { deployment } = services.manifest;
    if (envelope.boot !== undefined && envelope.boot !== this.#options.boot) {
      throw new RequestError(
        "STAMPED_FOR_ANOTHER_BOOT",
        "it names a boot that is not this one: verify, and stamp again",
      );
    }
    const appId = appIdOf(envelope.audience, deployment);
    if ((appId === null) !== (ACCESS[name].kind === "administrators")) throw wrongAudience(deployment);
    const replays = appId === null ? services.administratorsReplays : services.replays;
    replays.checkTime(envelope.issuedAtMs);
    if (envelope.secondFactor !== undefined && !isSealed(received)) {
      throw new RequestError(
        "SEALING_REQUIRED",
        "a one-time password travels sealed: this one was shown to the parent",
      );
    }
    if (envelope.share !== undefined && !isSealed(received)) {
      throw new RequestError("SEALING_REQUIRED", "a share travels sealed: this one was shown to the parent");
    }
    const { sealedOnly }: Access = ACCESS[name];
    if (sealedOnly === true && !isSealed(received)) {
      throw new RequestError(
        "SEALING_REQUIRED",
        "what it asks or answers is not for whoever relays it: send it sealed",
      );
    }
    const maxKeys = appId === null ? services.manifest.administrators.publicKeys.length : 1;
    const stamps = readStamps(received, maxKeys, this.#options.stamps);
    switch (name) {
      case "create_app":
        return createApp(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "update_app":
        return updateApp(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "list_apps":
        return listApps(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "get_app":
        return getApp(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "rotate_app_key":
        return rotateAppKey(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "reset_policy":
        return resetPolicy(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "rotate_vault":
        return rotateVault(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
      case "vault_status":
        return vaultStatus(stampedByKeys(envelope, stamps), parseParams(name, envelope), services);
    }
    if (appId === null) throw wrongAudience(deployment);
    const request: ReceivedInApp = { envelope, appId, body: received.body, isSealed: isSealed(received) };
    switch (name) {
      case "register_session":
        return registerSession(
          { ...request, stamp: soleStamp(stamps), passkey: null },
          parseParams(name, envelope),
          services,
        );
      case "refresh_session":
        return refreshSession(
          { ...request, stamp: soleStamp(stamps), passkey: null },
          parseParams(name, envelope),
          services,
        );
      case "register_session_with_passkey":
        return registerSessionWithPasskey({ ...request, ...bothStamps(stamps) }, parseParams(name, envelope), services);
    }
    return this.#runInApp(name, appRequestOf(name, request, stamps));
  }

  /** No handler inside an app is reached but through here, and by nobody whom the table of access does not name. */
  async #runInApp<Name extends AppOperation>(name: Name, request: AppRequest): Promise<Result<Name>> {
    const { services } = this.#options;
    const { envelope } = request;
    const params = parseParams(name, envelope);
    const actor = await authorise(name, request, params, services);
    const handlers: AppHandlers = APP_HANDLERS;
    const wallets = services.wallets.bringing(envelope.share);
    return lookAnew({ ...services, wallets }, (each) => handlers[name]({ ...request, actor }, params, each));
  }
}

/** It would end the stream that it is sent on, and with it what others wait for. */
function tooLarge(bytes: number): RequestError {
  return new RequestError(
    "ANSWER_TOO_LARGE",
    `an answer of ${bytes} bytes, limit ${MAX_ANSWER_BYTES}: what was asked is done`,
  );
}

function isSealed({ sealedFor }: ReceivedRequest): boolean {
  return sealedFor !== undefined;
}

function decodeEnvelope(body: Uint8Array): RequestEnvelope {
  try {
    return decodeRequest(body);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const code = error.code === "MALFORMED_JSON" ? "MALFORMED_JSON" : "INVALID_REQUEST";
    throw new RequestError(code, error.message, { cause: error });
  }
}

function knownOperation(name: string): OperationName {
  if (!isOperationName(name)) throw new RequestError("UNKNOWN_OPERATION", "no such operation");
  return name;
}

/** Null for the audience of administrators: the deployment itself. */
function appIdOf(audience: string, deployment: string): string | null {
  if (audience === audienceOf(deployment, null)) return null;
  const appId = /\/(app_[0-9a-f]{32})$/.exec(audience)?.[1];
  if (appId === undefined || audience !== audienceOf(deployment, appId)) throw wrongAudience(deployment);
  return appId;
}

function wrongAudience(deployment: string): RequestError {
  return new RequestError(
    "WRONG_AUDIENCE",
    `expected ${deployment} for administrators' operations, ${deployment}/<appId> for all others`,
  );
}

function parseParams<Name extends OperationName>(name: Name, { params }: RequestEnvelope): Params<Name> {
  const parsed = OPERATIONS[name].params.safeParse(params);
  if (!parsed.success) throw new RequestError("INVALID_PARAMS", describeIssues(parsed.error), { cause: parsed.error });
  return parsed.data as Params<Name>;
}

function elapsedMs(startedAt: number): number {
  return Math.round((performance.now() - startedAt) * 100) / 100;
}
