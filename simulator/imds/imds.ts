/**
 * EC2's instance metadata service, as far as an instance asks it for its role's credentials: IMDSv2 with tokens required
 * (EC2 User Guide, "Use IMDSv2" and "Retrieve security credentials"). No other metadata is there, and no hop limit: it
 * is a matter of IP packets.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ImdsError } from "./errors.ts";
import { RotatingCredentials, type RotationOptions } from "./rotating-credentials.ts";
import { parseTtl, SessionTokens } from "./session-token.ts";

const TOKEN_PATH = "/latest/api/token";
const ROLES_PATH = "/latest/meta-data/iam/security-credentials/";
const TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER = "x-aws-ec2-metadata-token";
const REQUEST_TIMEOUT_MS = 10_000;

/** What goes wrong with every request from now on, one thing at a time. */
export type ImdsTrouble =
  | { readonly kind: "none" }
  /** Nobody answers: connections are reset. The port stays taken, or another program could have it meanwhile. */
  | { readonly kind: "unreachable" }
  | { readonly kind: "error"; readonly status: 500 | 503 }
  /** The answer waits, milliseconds. */
  | { readonly kind: "slow"; readonly delayMs: number }
  /** No rotation: the credentials from before are handed out, also when they have expired. */
  | { readonly kind: "stale" }
  /** Every time in the answers is off by as much; what the credentials open is not. */
  | { readonly kind: "wrong-clock"; readonly skewMs: number };

export interface ImdsRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

export interface SimulatedImdsOptions extends RotationOptions {
  readonly roleName: string;
  readonly nowMs: () => number;
  /** None unless given. */
  readonly trouble?: ImdsTrouble;
  /** Any free one unless given; always on 127.0.0.1. */
  readonly port?: number;
  /** Hears what was answered; never a token or a key. */
  readonly log?: (request: ImdsRequest) => void;
}

export interface SimulatedImds {
  /** For `AWS_EC2_METADATA_SERVICE_ENDPOINT`. */
  readonly endpoint: string;
  /** @throws {@link ImdsError} `INVALID_TROUBLE` */
  setTrouble(trouble: ImdsTrouble): Promise<void>;
  close(): Promise<void>;
}

/** @throws {@link ImdsError} `INVALID_ROLE_NAME`, `INVALID_LIFETIME`, `INVALID_TROUBLE` */
export async function startSimulatedImds(options: SimulatedImdsOptions): Promise<SimulatedImds> {
  // IAM API Reference, CreateRole.
  if (!/^[\w+=,.@-]{1,64}$/.test(options.roleName)) {
    throw new ImdsError("INVALID_ROLE_NAME", "expected 1 to 64 letters, digits and _+=,.@-");
  }
  const service = new Service(options);
  await service.listen(options.port ?? 0);
  try {
    await service.setTrouble(options.trouble ?? { kind: "none" });
  } catch (error) {
    await service.close();
    throw error;
  }
  return service;
}

interface Answer {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

class Service implements SimulatedImds {
  readonly #options: SimulatedImdsOptions;
  readonly #credentials: RotatingCredentials;
  readonly #tokens = new SessionTokens();
  readonly #closing = new AbortController();
  #trouble: ImdsTrouble = { kind: "none" };
  #port = 0;
  #server: Server | undefined;

  constructor(options: SimulatedImdsOptions) {
    this.#options = options;
    this.#credentials = new RotatingCredentials(options);
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async setTrouble(trouble: ImdsTrouble): Promise<void> {
    const { kind } = trouble;
    const numbers = kind === "slow" ? [trouble.delayMs] : kind === "wrong-clock" ? [trouble.skewMs] : [];
    if (!numbers.every(Number.isSafeInteger) || (kind === "slow" && trouble.delayMs < 0)) {
      throw new ImdsError("INVALID_TROUBLE", "expected whole milliseconds, and a delay that is not negative");
    }
    this.#trouble = trouble;
    if (kind === "unreachable") this.#server?.closeAllConnections();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async listen(port: number): Promise<void> {
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
      // A caller that went away while it was being answered is no error of ours.
      this.#serve(request, response).catch(() => response.destroy());
    });
    server.on("connection", (socket) => {
      if (this.#trouble.kind === "unreachable") socket.resetAndDestroy();
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const trouble = this.#trouble;
    if (trouble.kind === "slow") await sleep(trouble.delayMs, undefined, { signal: this.#closing.signal });
    const answer: Answer = trouble.kind === "error" ? { status: trouble.status } : this.#answerTo(request);
    const { status, body = "", headers } = answer;
    this.#options.log?.({ method: request.method ?? "", path: request.url ?? "", status });
    response.writeHead(status, {
      "content-type": "text/plain",
      "content-length": Buffer.byteLength(body),
      date: new Date(this.#shownMs(this.#options.nowMs())).toUTCString(),
      server: "SIMULATOR - NOT AWS",
      ...headers,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  #answerTo(request: IncomingMessage): Answer {
    const { method, url = "" } = request;
    if (url === TOKEN_PATH) return method === "PUT" ? this.#issueToken(request) : notAllowed("PUT");
    const token = request.headers[TOKEN_HEADER];
    if (typeof token !== "string" || !this.#tokens.accepts(token, this.#options.nowMs())) return { status: 401 };
    if (method !== "GET" && method !== "HEAD") return notAllowed("GET, HEAD");
    if (url === ROLES_PATH) return { status: 200, body: this.#options.roleName };
    if (url === ROLES_PATH + this.#options.roleName) return { status: 200, body: this.#describeCredentials() };
    return { status: 404 };
  }

  #issueToken({ headers }: IncomingMessage): Answer {
    // A request that a proxy passed on: it may not be the instance's own.
    if (headers["x-forwarded-for"] !== undefined) return { status: 403 };
    const ttlS = parseTtl(String(headers[TTL_HEADER] ?? ""));
    if (ttlS === undefined) return { status: 400 };
    return {
      status: 200,
      body: this.#tokens.issue(ttlS, this.#options.nowMs()),
      headers: { [TTL_HEADER]: String(ttlS) },
    };
  }

  #describeCredentials(): string {
    const mayRotate = this.#trouble.kind !== "stale";
    const offered = this.#credentials.offeredAt(this.#options.nowMs(), mayRotate);
    const { issuedAtMs, expiresAtMs, accessKeyId, secretAccessKey, sessionToken } = offered;
    const members = {
      Code: "Success",
      LastUpdated: this.#timestamp(issuedAtMs),
      Type: "AWS-HMAC",
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      Token: sessionToken,
      Expiration: this.#timestamp(expiresAtMs),
    };
    return JSON.stringify(members, null, 2);
  }

  #timestamp(ms: number): string {
    return new Date(this.#shownMs(ms)).toISOString().replace(/\.\d{3}Z$/, "Z");
  }

  #shownMs(ms: number): number {
    return this.#trouble.kind === "wrong-clock" ? ms + this.#trouble.skewMs : ms;
  }
}

function notAllowed(allowed: string): Answer {
  return { status: 405, headers: { allow: allowed } };
}
