/** KMS over HTTPS in AWS JSON 1.1, for one account in one region. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { AttestationRoot } from "../../attestation/index.ts";
import type { EnvelopeShape } from "./enveloped-data.ts";
import { KmsError, type KmsErrorCode } from "./errors.ts";
import { KmsInput } from "./input.ts";
import { KeyStore } from "./key-store.ts";
import { type KmsAnswer, OPERATIONS } from "./operations.ts";
import type { KeyPolicyInput } from "./policy-document.ts";
import { identityOf, type KmsPrincipal } from "./principal.ts";
import { authenticate } from "./signature.ts";

/** A document of the largest size in base64, with room for the rest. */
const MAX_REQUEST_BYTES = 512 * 1024;
/** nitro.md 4.1: what others report of AWS. */
const DEFAULT_MAX_ATTESTATION_AGE_MS = 300_000;
const REQUEST_TIMEOUT_MS = 10_000;
const CONTENT_TYPE = "application/x-amz-json-1.1";

/** Misbehaviour on demand: for tests of clients, who must notice it. */
export interface KmsFaults {
  /** Changes what goes out for a request that was granted. */
  readonly rewriteAnswer?: (operation: string, answer: KmsAnswer) => KmsAnswer;
  /** Fails a request before it is looked at: with an error, or with a connection that breaks. Undefined: does not. */
  readonly fail?: (operation: string) => KmsErrorCode | "CONNECTION_RESET" | undefined;
}

export interface KmsLogEntry {
  readonly atMs: number;
  readonly requestId: string;
  readonly operation: string | null;
  readonly principalArn: string | null;
  readonly keyArn: string | null;
  readonly outcome: "ok" | KmsErrorCode | "CONNECTION_RESET";
  /** What the caller is not told, such as why a document was refused. */
  readonly detail: string | null;
}

export interface SimulatedKmsOptions {
  readonly tls: { readonly keyPem: string; readonly certPem: string };
  readonly region: string;
  /** Twelve digits. */
  readonly accountId: string;
  /** Looked at anew for each request, so that an array may be added to. */
  readonly principals: readonly KmsPrincipal[];
  /** The simulator's own roots; AWS's only where genuine documents are to be tried. */
  readonly attestationRoots: readonly AttestationRoot[];
  /** Keys and policies survive restarts here, in the clear; null: in memory only. */
  readonly storeFile: string | null;
  readonly nowMs: () => number;
  /** 300 000 unless given. */
  readonly maxAttestationAgeMs?: number;
  /** `random` unless given. */
  readonly envelopeShape?: EnvelopeShape | "random";
  /** Any free one unless given. */
  readonly port?: number;
  /** 127.0.0.1 unless given. */
  readonly host?: string;
  readonly log?: (entry: KmsLogEntry) => void;
  readonly faults?: KmsFaults;
}

export interface SimulatedKms {
  readonly port: number;
  /**
   * Stands for the account's administrator: no policy is asked.
   *
   * @returns The key's ARN.
   * @throws {@link KmsError} `AlreadyExistsException`, `ValidationException`, `MalformedPolicyDocumentException`
   */
  createKey(options: { readonly keyId?: string; readonly policy: KeyPolicyInput }): string;
  /** @throws {@link KmsError} `NotFoundException`, `MalformedPolicyDocumentException` */
  putKeyPolicy(keyArn: string, policy: KeyPolicyInput): void;
  keyArns(): string[];
  /** Ends open connections too. */
  close(): Promise<void>;
}

/**
 * @throws {@link KmsError} `ValidationException` for options that cannot be.
 * @throws `KmsStoreError` if the store's file cannot be used.
 */
export async function startSimulatedKms(options: SimulatedKmsOptions): Promise<SimulatedKms> {
  const { region, accountId, storeFile, nowMs } = options;
  if (!/^[0-9]{12}$/.test(accountId)) throw new KmsError("ValidationException", "expected an account id of 12 digits");
  if (!/^[a-z]{2}(-[a-z]+)+-[0-9]$/.test(region)) throw new KmsError("ValidationException", "expected a region");
  for (const { arn } of options.principals) identityOf(arn);
  const keys = new KeyStore({ region, accountId, storeFile });

  const server = createServer(
    { key: options.tls.keyPem, cert: options.tls.certPem, minVersion: "TLSv1.2", requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      // A caller that went away while it was being answered is no error of ours.
      serve(options, keys, request, response).catch(() => response.destroy());
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
  });

  return {
    port: (server.address() as AddressInfo).port,
    createKey: ({ keyId, policy }) =>
      keys.create({ ...(keyId === undefined ? {} : { keyId }), policy, nowMs: nowMs() }).arn,
    putKeyPolicy: (keyArn, policy) => keys.putPolicy(keyArn, policy),
    keyArns: () => keys.arns(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  options: SimulatedKmsOptions,
  keys: KeyStore,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const entry = {
    atMs: options.nowMs(),
    requestId: randomUUID(),
    operation: null as string | null,
    principalArn: null as string | null,
    keyArn: null as string | null,
  };
  try {
    const answer = await answerTo(options, keys, request, entry);
    if (answer === "CONNECTION_RESET") {
      options.log?.({ ...entry, outcome: answer, detail: "a fault was asked for" });
      request.socket.destroy();
      return;
    }
    options.log?.({ ...entry, outcome: "ok", detail: null });
    send(response, 200, entry, answer);
  } catch (error) {
    const refusal =
      error instanceof KmsError
        ? error
        : new KmsError("KMSInternalException", "an error of the simulator", { cause: error, detail: String(error) });
    options.log?.({ ...entry, outcome: refusal.code, detail: refusal.detail ?? refusal.message });
    send(response, refusal.status, entry, { __type: refusal.code, message: refusal.message });
  }
}

async function answerTo(
  options: SimulatedKmsOptions,
  keys: KeyStore,
  request: IncomingMessage,
  entry: { atMs: number; operation: string | null; principalArn: string | null; keyArn: string | null },
): Promise<KmsAnswer | "CONNECTION_RESET"> {
  const { principals, region, accountId, faults } = options;
  const body = await readBody(request);
  const headers = headersOf(request);
  const { method = "", url = "" } = request;
  const principal = authenticate(
    { method, url, headers, body },
    { principals, region, service: "kms", nowMs: entry.atMs },
  );
  entry.principalArn = principal.arn;

  const operation = operationOf(method, url, headers);
  const run = OPERATIONS.get(operation);
  if (run === undefined) throw new KmsError("UnknownOperationException", "", { detail: "no such operation" });
  entry.operation = operation;
  const fault = faults?.fail?.(operation);
  if (fault === "CONNECTION_RESET") return fault;
  if (fault !== undefined) throw new KmsError(fault, "a fault was asked for");

  const answer = await run({
    input: KmsInput.parse(body),
    caller: identityOf(principal.arn),
    keys,
    accountId,
    trust: {
      roots: options.attestationRoots,
      maxAgeMs: options.maxAttestationAgeMs ?? DEFAULT_MAX_ATTESTATION_AGE_MS,
    },
    envelopeShape: options.envelopeShape ?? "random",
    nowMs: entry.atMs,
    onKey: (keyArn) => {
      entry.keyArn = keyArn;
    },
  });
  return faults?.rewriteAnswer?.(operation, answer) ?? answer;
}

function operationOf(method: string, url: string, headers: ReadonlyMap<string, readonly string[]>): string {
  const [target, ...others] = headers.get("x-amz-target") ?? [];
  const contentTypes = headers.get("content-type") ?? [];
  const asked = method === "POST" && url === "/" && contentTypes.join() === CONTENT_TYPE && others.length === 0;
  return asked && target?.startsWith("TrentService.") ? target.slice("TrentService.".length) : "";
}

/** Node's own `headers` joins or drops what came twice; the signature covers what came. */
function headersOf({ rawHeaders }: IncomingMessage): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? "").toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), rawHeaders[at + 1] ?? ""]);
  }
  return headers;
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_REQUEST_BYTES) chunks.push(chunk);
  }
  // Read to its end all the same, so that the client hears the answer instead of a broken pipe.
  if (size > MAX_REQUEST_BYTES) {
    throw new KmsError("RequestEntityTooLargeException", `a request of ${size} bytes, limit ${MAX_REQUEST_BYTES}`);
  }
  return Buffer.concat(chunks);
}

function send(
  response: ServerResponse,
  status: number,
  { requestId, atMs }: { readonly requestId: string; readonly atMs: number },
  members: KmsAnswer,
): void {
  const body = Buffer.from(JSON.stringify(members), "utf8");
  response.writeHead(status, {
    "content-type": CONTENT_TYPE,
    "content-length": body.length,
    "x-amzn-requestid": requestId,
    // By our own clock: AWS's clients correct theirs by it.
    date: new Date(atMs).toUTCString(),
    server: "SIMULATOR - NOT AWS",
  });
  response.end(body);
}
