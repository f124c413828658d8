/** KMS over HTTPS in AWS JSON 1.1, for one account in one region. */
import { randomUUID } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, isIPv4 } from "node:net";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { KmsError } from "./errors.ts";
import { KmsInput } from "./input.ts";
import { KeyStore } from "./key-store.ts";
import type { KmsAnswer } from "./operations/call.ts";
import { type KeyPolicy, type KeyPolicyInput, parseIdentityPolicy } from "./policy-document.ts";
import { identityOf, type KmsPrincipal } from "./principal.ts";
import type { SimulatedKms, SimulatedKmsOptions } from "./server-options.ts";
import { authenticate } from "./signature.ts";
import { isAliasName } from "./store-file.ts";
import { lockStore } from "./store-lock.ts";
import { createThrottle, quotaGroupOf, type Throttle } from "./throttle.ts";

/** A document of the largest size in base64, with room for the rest. */
const MAX_REQUEST_BYTES = 512 * 1024;
/** nitro.md 4.1: what others report of AWS. */
const DEFAULT_MAX_ATTESTATION_AGE_MS = 300_000;
const REQUEST_TIMEOUT_MS = 10_000;
const CONTENT_TYPE = "application/x-amz-json-1.1";

/**
 * @throws {@link KmsError} `ValidationException` for options that cannot be.
 * @throws `KmsStoreError` if the store's file cannot be used, or is in use.
 */
export async function startSimulatedKms(options: SimulatedKmsOptions): Promise<SimulatedKms> {
  const { region, accountId, storeFile, nowMs } = options;
  if (!/^[0-9]{12}$/.test(accountId)) throw new KmsError("ValidationException", "expected an account id of 12 digits");
  if (!/^[a-z]{2}(-[a-z]+)+-[0-9]$/.test(region)) throw new KmsError("ValidationException", "expected a region");
  for (const { arn } of options.principals) identityOf(arn);
  for (const principal of options.principals) identityPoliciesOf(principal);
  const unlock = storeFile === null ? () => {} : await lockStore(storeFile, holderName(nowMs()));
  try {
    const keys = new KeyStore({ region, accountId, storeFile });
    const service: Service = {
      options,
      keys,
      throttle: createThrottle(options.throttle ?? {}),
      operations: loadOperations(),
    };
    const server = createServerFor(options, (request, response) => {
      // A caller that went away while it was being answered is no error of ours.
      serve(service, request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
    });
    return {
      port: (server.address() as AddressInfo).port,
      ...administratorOf(keys, nowMs),
      close: () =>
        new Promise((resolve) => {
          server.close(() => {
            unlock();
            resolve();
          });
          server.closeAllConnections();
        }),
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

interface Service {
  readonly options: SimulatedKmsOptions;
  readonly keys: KeyStore;
  readonly throttle: Throttle;
  readonly operations: ReturnType<typeof loadOperations>;
}

/** Once whoever starts us has gone on: a simulator's other processes start meanwhile, and nobody asks KMS before. */
async function loadOperations() {
  await setImmediate();
  return (await import("./operations.ts")).OPERATIONS;
}

function holderName(nowMs: number): string {
  return `process ${process.pid}, since ${new Date(nowMs).toISOString()}`;
}

function createServerFor({ tls }: SimulatedKmsOptions, listener: RequestListener) {
  const limits = { requestTimeout: REQUEST_TIMEOUT_MS };
  if (tls === null) return createHttpServer(limits, listener);
  return createHttpsServer({ key: tls.keyPem, cert: tls.certPem, minVersion: "TLSv1.2", ...limits }, listener);
}

function administratorOf(keys: KeyStore, nowMs: () => number): Omit<SimulatedKms, "port" | "close"> {
  return {
    createKey: ({ alias, ...key }) => {
      if (alias !== undefined && !isAliasName(alias))
        throw new KmsError("ValidationException", "expected alias/<name>");
      const atMs = nowMs();
      const { arn, keyId } = keys.create({ ...key, nowMs: atMs });
      if (alias !== undefined) keys.putAlias({ name: alias, keyId, createdMs: atMs, updatedMs: atMs });
      return arn;
    },
    putKeyPolicy: (keyArn, policy) => keys.putPolicy(keyArn, policy),
    keyArns: () => keys.arns(),
    keyArnOf: (alias) => {
      const found = keys.aliases.find(({ name }) => name === alias);
      return found === undefined ? null : keys.find(found.keyId).arn;
    },
  };
}

const parsedPolicies = new WeakMap<readonly KeyPolicyInput[], readonly KeyPolicy[]>();

/** @throws {@link KmsError} `MalformedPolicyDocumentException` */
function identityPoliciesOf({ identityPolicies }: KmsPrincipal): readonly KeyPolicy[] | null {
  if (identityPolicies === undefined) return null;
  const parsed = parsedPolicies.get(identityPolicies) ?? identityPolicies.map(parseIdentityPolicy);
  parsedPolicies.set(identityPolicies, parsed);
  return parsed;
}

async function serve(service: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { options } = service;
  const entry = {
    atMs: options.nowMs(),
    requestId: randomUUID(),
    operation: null as string | null,
    principalArn: null as string | null,
    keyArn: null as string | null,
  };
  try {
    const answer = await answerTo(service, request, entry);
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
  { options, keys, throttle, operations }: Service,
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
  const run = (await operations).get(operation);
  if (run === undefined) throw new KmsError("UnknownOperationException", "", { detail: "no such operation" });
  entry.operation = operation;
  const plan = faults?.plan?.(operation) ?? {};
  if (plan.delayMs !== undefined && plan.delayMs > 0) await sleep(plan.delayMs);
  const fault = plan.fail ?? faults?.fail?.(operation);
  if (fault === "CONNECTION_RESET") return fault;
  if (fault !== undefined) throw new KmsError(fault, "a fault was asked for");

  const input = KmsInput.parse(body);
  throttle.take(quotaGroupOf(operation, input.peek("KeyPairSpec")), entry.atMs);
  keys.advanceTo(entry.atMs);
  const answer = await run({
    input,
    caller: {
      identity: identityOf(principal.arn),
      identityPolicies: identityPoliciesOf(principal),
      conditionKeys: [
        ...connectionKeysOf(request, options, entry.atMs),
        ...Object.entries(principal.conditionKeys ?? {}),
      ],
    },
    keys,
    accountId,
    trust: {
      roots: options.attestationRoots,
      maxAgeMs: options.maxAttestationAgeMs ?? DEFAULT_MAX_ATTESTATION_AGE_MS,
    },
    envelopeShape: options.envelopeShape ?? "random",
    grantPropagationMs: options.grantPropagationMs ?? 0,
    nowMs: entry.atMs,
    onKey: (keyArn) => {
      entry.keyArn = keyArn;
    },
  });
  const rewritten = plan.rewriteAnswer?.(answer) ?? answer;
  return faults?.rewriteAnswer?.(operation, rewritten) ?? rewritten;
}

function connectionKeysOf(
  request: IncomingMessage,
  { tls }: SimulatedKmsOptions,
  nowMs: number,
): (readonly [key: string, value: string])[] {
  const address = request.socket.remoteAddress ?? "";
  const mapped = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  return [
    ["aws:SecureTransport", String(tls !== null)],
    ["aws:SourceIp", isIPv4(mapped) ? mapped : address],
    ["aws:CurrentTime", new Date(nowMs).toISOString()],
    ["aws:EpochTime", String(Math.floor(nowMs / 1000))],
  ];
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
