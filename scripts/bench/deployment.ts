/** A simulator with one app, its users, and requests over HTTP that were stamped beforehand. */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { Latencies } from "../../bench/index.ts";
import { type Client, loginNonce, type Session, type StampKey } from "../../client/index.ts";
import {
  encodeRequest,
  encodeStamp,
  isWebauthnStamp,
  type JsonValue,
  type OperationName,
  STAMP_HEADER,
  type StampScheme,
  WEBAUTHN_STAMP_HEADER,
} from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { generateKeyOf } from "../../test/support/app-requests.ts";
import { usdcTransfer } from "../../test/support/transactions.ts";
import { BENCH_PASSKEYS } from "../bench-passkeys.ts";

export interface Prepared {
  readonly path: string;
  readonly body: Uint8Array;
  readonly stamp: string | null;
  /** Of a sealed request: a refusal inside has status 200 outside. */
  readonly openStatus: ((answer: Uint8Array) => Promise<number>) | null;
}

export interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Deployment extends AsyncDisposable {
  readonly simulator: Simulator;
  readonly client: Client;
  readonly appId: string;
  readonly audience: string;
  logIn(subject: string, scheme?: StampScheme): Promise<{ readonly session: Session; readonly key: StampKey }>;
  prepare(operation: OperationName, params: JsonValue, key: StampKey): Promise<Prepared>;
}

/** Of each round's sealed answers, once the clock has been stopped. */
const OPENED = 50;

export async function startDeployment(): Promise<Deployment> {
  const simulator = await startSimulator();
  const client = await simulator.connect();
  const { issuer, jwksUri } = simulator.issuer;
  const { appId } = await client.createApp([simulator.administratorKey], {
    name: "bench",
    issuers: [{ issuer, audiences: ["bench"], jwksUri, algorithms: ["ES256"] }],
    sessionLifetimeS: 86_400,
    signingPolicy: { evmChainIds: ["1"], messages: "deny" },
    passkeys: BENCH_PASSKEYS,
  });
  const audience = `${simulator.deployment}/${appId}`;
  return {
    ...{ simulator, client, appId, audience },
    logIn: async (subject, scheme = "SIGNATURE_SCHEME_TK_API_P256") => {
      const key = generateKeyOf(scheme);
      const nonce = await loginNonce(key);
      const token = { subject, audience: "bench", nonce, algorithm: "ES256", lifetimeS: 86_400 } as const;
      const session = await client.login({ appId, jwt: await simulator.issuer.mint(token), key });
      return { session, key };
    },
    prepare: async (operation, params, { scheme, publicKey, sign }) => {
      const body = encodeRequest({
        ...{ operation, audience, params, requestId: randomUUID(), issuedAtMs: simulator.nowMs() - 100 },
      });
      const stamp = encodeStamp({ scheme, publicKey, signature: await sign(body) });
      return { path: `/v1/${operation}`, body, stamp, openStatus: null };
    },
    [Symbol.asyncDispose]: () => simulator.stop(),
  };
}

/** A transfer of a token. */
export function signingWith(walletId: string): JsonValue {
  return { walletId, chainId: "1", unsignedTransaction: UNSIGNED };
}
const UNSIGNED = usdcTransfer();

/** Stamps are made beforehand: what is measured is the service, and not its caller. */
export async function postAll(url: string, prepared: readonly Prepared[], inFlight: number): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const latencies = new Latencies();
  const waiting = [...prepared];
  const answers: (() => Promise<number>)[] = [];
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const sentAt = performance.now();
        await post(url, agent, next, answers);
        latencies.record(performance.now() - sentAt);
      }
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  agent.destroy();
  const opened = await Promise.all(answers.slice(0, OPENED).map((open) => open()));
  if (opened.some((status) => status !== 200)) throw new Error(`inside a seal: status ${opened.join(", ")}`);
  const { p50Ms, p99Ms } = latencies.summary();
  return { perSecond: prepared.length / seconds, p50Ms, p99Ms };
}

function post(
  url: string,
  agent: Agent,
  { path, body, stamp, openStatus }: Prepared,
  answers: (() => Promise<number>)[],
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const headers = {
    "content-type": "application/octet-stream",
    "content-length": body.length,
    ...(stamp === null ? {} : { [isWebauthnStamp(stamp) ? WEBAUTHN_STAMP_HEADER : STAMP_HEADER]: stamp }),
  };
  const sent = request(new URL(path, url), { method: "POST", agent, headers }, (response) => {
    const chunks: Uint8Array[] = [];
    response.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    response.once("error", reject);
    response.once("end", () => {
      const answer = Buffer.concat(chunks);
      if (openStatus !== null) answers.push(() => openStatus(answer));
      // A bench that counted refusals as work would be fast and worthless: also those of a batch's elements.
      if (response.statusCode !== 200)
        reject(new Error(`${path} answers ${response.statusCode}: ${answer.toString("utf8")}`));
      else if (openStatus === null && answer.includes('"error"')) reject(new Error(`${path}: an element was refused`));
      else resolve();
    });
  });
  sent.once("error", reject);
  sent.end(body);
  return promise;
}
