/**
 * An OpenID Connect issuer that believes everybody: discovery and keys over HTTPS as the enclave fetches them, and tokens
 * for whoever asks on this machine's loopback. It has no login page and no authorization endpoint.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { IssuerError } from "./errors.ts";
import { ISSUER_ALGORITHMS, type IssuerAlgorithm, SigningKeys } from "./signing-keys.ts";
import { parseTokenRequest } from "./token-request.ts";

const DEFAULT_LIFETIME_S = 3600;
/** What most issuers sign with, and what OpenID Connect Core 1.0 section 15.1 makes everybody support. */
const DEFAULT_ALGORITHM: IssuerAlgorithm = "RS256";
const MAX_BODY_BYTES = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const NOTE = "SIMULATOR ISSUER: anyone on this machine gets any token; trust it in simulators only";

export interface SimulatedIssuerOptions {
  readonly tls: { readonly keyPem: string; readonly certPem: string };
  /** As tokens name it: an https URL without query, fragment or final slash. Its name need not resolve. */
  readonly issuer: string;
  readonly nowMs: () => number;
  /** Of HTTPS; any free one unless given. */
  readonly port?: number;
  /** Of HTTPS; 127.0.0.1 unless given. */
  readonly host?: string;
  /** Of the token endpoint, always on 127.0.0.1; any free one unless given. */
  readonly tokenPort?: number;
  /** Hears the method and path of each HTTPS request: tests count what a client fetches. */
  readonly log?: (request: { readonly method: string; readonly path: string }) => void;
}

export interface MintOptions {
  readonly subject: string;
  readonly audience: string | readonly string[];
  readonly nonce?: string;
  /** 3600 unless given; a negative one makes a token that has expired. */
  readonly lifetimeS?: number;
  /** Added, or put in place of what the issuer would say; undefined leaves a claim out. For wrong tokens too. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** RS256 unless given. */
  readonly algorithm?: IssuerAlgorithm;
}

export interface SimulatedIssuer {
  readonly port: number;
  readonly tokenPort: number;
  readonly issuer: string;
  readonly jwksUri: string;
  /** A signed JWT, in the compact form. */
  mint(options: MintOptions): Promise<string>;
  /** New keys sign from now on. The keys before stay published until the next rotation. */
  rotateKey(): void;
  /** SPKI of the key that signs now. */
  signingKeyPublicPem(algorithm?: IssuerAlgorithm): Promise<string>;
  /** Path of each HTTPS request so far: tests count what a client fetches. */
  readonly fetched: readonly string[];
  /** Answers in the issuer's place while it is there: an issuer that is ill, or has fallen into other hands. */
  trouble: ((path: string, response: ServerResponse) => void) | null;
  close(): Promise<void>;
}

/** @throws {@link IssuerError} `INVALID_ISSUER` */
export async function startSimulatedIssuer(options: SimulatedIssuerOptions): Promise<SimulatedIssuer> {
  const { issuer, nowMs } = options;
  const basePath = basePathOf(issuer);
  const jwksUri = `${issuer}/.well-known/jwks.json`;
  const keys = new SigningKeys();
  const fetched: string[] = [];

  async function mint(asked: MintOptions): Promise<string> {
    const { subject, audience, nonce, lifetimeS = DEFAULT_LIFETIME_S, claims, algorithm = DEFAULT_ALGORITHM } = asked;
    const iat = Math.floor(nowMs() / 1000);
    const standard = { iss: issuer, sub: subject, aud: audience, iat, exp: iat + lifetimeS, nonce };
    return keys.sign(algorithm, { ...standard, ...claims });
  }

  async function publish(request: IncomingMessage): Promise<object> {
    const { method = "", url = "" } = request;
    options.log?.({ method, path: url });
    fetched.push(url);
    const documents: ReadonlyMap<string, () => object | Promise<object>> = new Map([
      [`${basePath}/.well-known/openid-configuration`, () => discoveryDocument(issuer, jwksUri)],
      [`${basePath}/.well-known/jwks.json`, () => keys.jwks()],
    ]);
    const document = documents.get(url);
    if (document === undefined)
      throw new IssuerError("NOT_FOUND", `expected one of ${[...documents.keys()].join(", ")}`);
    if (method !== "GET") throw new IssuerError("METHOD_NOT_ALLOWED", "expected GET");
    return document();
  }

  async function issueToken(request: IncomingMessage): Promise<object> {
    checkTokenRequest(request);
    return { token: await mint(parseTokenRequest(await readBody(request))), note: NOTE };
  }

  const { keyPem: key, certPem: cert } = options.tls;
  const timeouts = { requestTimeout: REQUEST_TIMEOUT_MS };
  const servePublished = serveWith(publish);
  const httpsServer = createHttpsServer({ key, cert, minVersion: "TLSv1.2", ...timeouts }, (request, response) => {
    if (running.trouble === null) return servePublished(request, response);
    fetched.push(request.url ?? "");
    running.trouble(request.url ?? "", response);
  });
  const tokenServer = createHttpServer(timeouts, serveWith(issueToken));
  const port = await listen(httpsServer, options.port ?? 0, options.host ?? "127.0.0.1");
  let tokenPort: number;
  try {
    tokenPort = await listen(tokenServer, options.tokenPort ?? 0, "127.0.0.1");
  } catch (error) {
    await closeServer(httpsServer);
    throw error;
  }

  const running: SimulatedIssuer = {
    fetched,
    trouble: null,
    port,
    tokenPort,
    issuer,
    jwksUri,
    mint,
    rotateKey: () => keys.rotate(),
    signingKeyPublicPem: (algorithm = DEFAULT_ALGORITHM) => keys.publicPem(algorithm),
    close: async () => {
      await Promise.all([closeServer(httpsServer), closeServer(tokenServer)]);
    },
  };
  return running;
}

/** OpenID Connect Discovery 1.0, section 3, as far as it is simulated. */
function discoveryDocument(issuer: string, jwksUri: string): object {
  return {
    issuer,
    jwks_uri: jwksUri,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ISSUER_ALGORITHMS,
  };
}

/** Discovery, section 2: an issuer is an https URL without query and fragment. */
function basePathOf(issuer: string): string {
  const url = URL.canParse(issuer) ? new URL(issuer) : null;
  const plain = url !== null && url.protocol === "https:" && url.username === "" && !/[?#\s]|\/$/.test(issuer);
  if (!plain) {
    throw new IssuerError("INVALID_ISSUER", "expected an https URL without query, fragment or final slash");
  }
  return url.pathname === "/" ? "" : url.pathname;
}

function checkTokenRequest({ method, url, headers }: IncomingMessage): void {
  // A web page that points its own name at 127.0.0.1 must not get tokens through its visitor's browser.
  const name = (headers.host ?? "").replace(/:[0-9]+$/, "");
  if (name !== "127.0.0.1" && name !== "localhost") {
    throw new IssuerError("NOT_LOCAL", "expected a Host of 127.0.0.1 or localhost");
  }
  if (url !== "/token") throw new IssuerError("NOT_FOUND", "expected POST /token");
  if (method !== "POST") throw new IssuerError("METHOD_NOT_ALLOWED", "expected POST");
  // Nor any other page: browsers ask before they send this type to another origin, and here nobody agrees.
  if (!/^application\/json(;\s*charset=utf-8)?$/i.test(headers["content-type"] ?? "")) {
    throw new IssuerError("NOT_JSON", "expected Content-Type: application/json");
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES) throw new IssuerError("BODY_TOO_LARGE", `expected at most ${MAX_BODY_BYTES} bytes`);
  return Buffer.concat(chunks);
}

function serveWith(answer: (request: IncomingMessage) => Promise<object>) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    answer(request)
      .then((body) => send(response, 200, body))
      .catch((error: unknown) => {
        const { code, message, status } =
          error instanceof IssuerError ? error : new IssuerError("INTERNAL", "an error of the simulator");
        send(response, status, { error: { code, message }, note: NOTE });
      });
  };
}

function send(response: ServerResponse, status: number, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body), "utf8");
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": bytes.length,
    "cache-control": "no-store",
    server: "SIMULATOR ISSUER",
  });
  response.end(bytes);
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
