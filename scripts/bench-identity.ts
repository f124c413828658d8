/**
 * Measures logins, stamped requests by each scheme, and what sealing costs, with few and many users stored: one enclave
 * behind its parent over HTTP, all in one run, so that ratios mean something on a machine whose speed drifts. Tokens,
 * stamps and seals are made beforehand; load generator, parent, enclave, KMS, NSM and issuer share the machine's cores.
 */
import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";
import { serializeTransaction } from "viem";
import { decodeUnverified } from "../attestation/index.ts";
import { loginNonce, type StampKey } from "../client/index.ts";
import { stampKeyFromKeyObject } from "../client-node/index.ts";
import {
  decodeAttestedKeys,
  encodeRequest,
  encodeStamp,
  isWebauthnStamp,
  type JsonValue,
  type OperationName,
  type RequestEnvelope,
  STAMP_HEADER,
  type StampScheme,
  sealRequest,
  WEBAUTHN_STAMP_HEADER,
} from "../protocol/index.ts";
import { startSimulator } from "../simulator/index.ts";
import { BENCH_PASSKEYS, benchPasskey } from "./bench-passkeys.ts";

const { values } = parseArgs({
  options: {
    users: { type: "string", default: "1,1000,100000" },
    logins: { type: "string", default: "300" },
    requests: { type: "string", default: "1000" },
  },
});
const USERS = values.users.split(",").map(Number);
const LOGINS = Number(values.logins);
const REQUESTS = Number(values.requests);
const ROUNDS = 3;
const IN_FLIGHT = 32;
/** Of each round's sealed answers, once the clock has been stopped. */
const OPENED = 50;
const SCHEMES: readonly StampScheme[] = [
  "SIGNATURE_SCHEME_TK_API_P256",
  "SIGNATURE_SCHEME_TK_API_SECP256K1",
  "SIGNATURE_SCHEME_TK_API_ED25519",
];

interface Prepared {
  readonly path: string;
  readonly body: Uint8Array;
  readonly stamp: string | null;
  /** Of a sealed request: a refusal inside has status 200 outside. */
  readonly openStatus: ((answer: Uint8Array) => Promise<number>) | null;
}

await using simulator = await startSimulator();
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
const document = await fetch(`${simulator.url}/v1/attestation?nonce=${"00".repeat(16)}`);
const attested = decodeUnverified(new Uint8Array(await document.arrayBuffer()));
const sealingKeys = decodeAttestedKeys(attested.publicKey ?? new Uint8Array(0));

/** One key for all users but one would be one session: each has its own, made ahead. */
function freshKey(scheme: StampScheme): StampKey {
  return stampKeyFromKeyObject(privateKeyOf(scheme));
}

function privateKeyOf(scheme: StampScheme): KeyObject {
  switch (scheme) {
    case "SIGNATURE_SCHEME_TK_API_P256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    case "SIGNATURE_SCHEME_TK_API_SECP256K1":
      return generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey;
    case "SIGNATURE_SCHEME_TK_API_ED25519":
      return generateKeyPairSync("ed25519").privateKey;
  }
}

const unsignedTransaction = serializeTransaction({
  type: "eip1559",
  chainId: 1,
  nonce: 0,
  to: "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
  data: `0xa9059cbb${"00".repeat(12)}${"d8da6bf26964af9d7eed9e03e53415d37aa96045"}${"00".repeat(28)}017d7840`,
  gas: 65_000n,
  maxFeePerGas: 30_000_000_000n,
  maxPriorityFeePerGas: 1_000_000_000n,
});

let stored = 0;
/** The users that signing is measured with: one for each scheme. */
const signers = new Map<StampScheme, { readonly key: StampKey; readonly walletId: string; readonly userId: string }>();
for (const scheme of SCHEMES) {
  const key = freshKey(scheme);
  const jwt = await simulator.issuer.mint({
    ...{ subject: "signer", audience: "bench", nonce: await loginNonce(key), algorithm: "ES256", lifetimeS: 86_400 },
  });
  const session = await client.login({ appId, jwt, key });
  const { walletId } = await session.createWallet({ kind: "single-key" });
  signers.set(scheme, { key, walletId, userId: session.userId });
}
stored = 1;
const webauthn = await registerPasskey("SIGNATURE_SCHEME_TK_API_P256");

console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}; ` +
    `${IN_FLIGHT} in flight, best of ${ROUNDS} rounds of ${LOGINS} logins or ${REQUESTS} requests\n`,
);
print(
  "users stored",
  "login",
  "login, sealed",
  ...SCHEMES.map(shortName),
  "WebAuthn",
  "P-256, sealed",
  "sealing costs",
);
for (const users of USERS) {
  while (stored < users) await measure(await prepareLogins(Math.min(500, users - stored), false));
  const rates: number[] = [];
  for (const scheme of SCHEMES) rates.push(await best(() => prepareSignatures(scheme, false)));
  rates.push(await best(prepareByPasskey));
  const sealedRate = await best(() => prepareSignatures("SIGNATURE_SCHEME_TK_API_P256", true));
  // Last, since each round of logins adds its users.
  const inTheOpen = await best(() => prepareLogins(LOGINS, false));
  const sealed = await best(() => prepareLogins(LOGINS, true));
  const ratio = (sealedRate / (rates[0] ?? Number.NaN)).toFixed(2);
  const cells = [inTheOpen, sealed, ...rates, sealedRate].map((rate) => rate.toFixed(0));
  print(String(users), ...cells, `ratio ${ratio}`);
}

async function prepareLogins(count: number, isSealed: boolean): Promise<Prepared[]> {
  const logins = await Promise.all(
    Array.from({ length: count }, async () => {
      const key = freshKey("SIGNATURE_SCHEME_TK_API_P256");
      const nonce = await loginNonce(key);
      const subject = randomUUID();
      return { key, jwt: await simulator.issuer.mint({ subject, audience: "bench", nonce, algorithm: "ES256" }) };
    }),
  );
  stored += count;
  // Dated last: a request is good for a minute.
  return Promise.all(logins.map(({ key, jwt }) => prepare("register_session", { jwt }, key, isSealed)));
}

function prepareSignatures(scheme: StampScheme, isSealed: boolean): Promise<Prepared[]> {
  const signer = signers.get(scheme);
  if (signer === undefined) throw new Error(`no signer for ${scheme}`);
  const params = { walletId: signer.walletId, chainId: "1", unsignedTransaction };
  return Promise.all(Array.from({ length: REQUESTS }, () => prepare("sign_transaction", params, signer.key, isSealed)));
}

/** A passkey of the signer's, like a synchronised one: it has no counter. */
async function registerPasskey(scheme: StampScheme) {
  const signer = signers.get(scheme);
  if (signer === undefined) throw new Error(`no signer for ${scheme}`);
  const { walletId, userId, key } = signer;
  return { walletId, stamp: await benchPasskey(client, { appId, userId, key }) };
}

async function prepareByPasskey(): Promise<Prepared[]> {
  const { walletId, stamp } = webauthn;
  const params = { walletId, chainId: "1", unsignedTransaction };
  return Array.from({ length: REQUESTS }, () => {
    const body = encodeRequest(envelopeOf("sign_transaction", params));
    return { path: "/v1/sign_transaction", body, stamp: stamp(body), openStatus: null };
  });
}

function envelopeOf(operation: OperationName, params: JsonValue): RequestEnvelope {
  return { operation, audience, requestId: randomUUID(), issuedAtMs: simulator.nowMs() - 100, params };
}

async function prepare(
  operation: OperationName,
  params: JsonValue,
  { scheme, publicKey, sign }: StampKey,
  isSealed: boolean,
): Promise<Prepared> {
  const body = encodeRequest(envelopeOf(operation, params));
  const stamp = encodeStamp({ scheme, publicKey, signature: await sign(body) });
  if (!isSealed) return { path: `/v1/${operation}`, body, stamp, openStatus: null };
  const { bytes, openAnswer } = await sealRequest(sealingKeys, audience, { stamps: [stamp], body });
  return {
    path: "/v1/sealed",
    body: bytes,
    stamp: null,
    openStatus: async (answer) => (await openAnswer(answer)).status,
  };
}

async function best(make: () => Promise<Prepared[]>): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) rates.push(await measure(await make()));
  return Math.max(...rates);
}

/** Answered requests a second. */
async function measure(prepared: readonly Prepared[]): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
  const waiting = [...prepared];
  const answers: (() => Promise<number>)[] = [];
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await post(agent, next, answers);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  agent.destroy();
  const opened = await Promise.all(answers.slice(0, OPENED).map((open) => open()));
  // A bench that counted refusals as work would be fast and worthless.
  if (opened.some((status) => status !== 200)) throw new Error(`inside a seal: status ${opened.join(", ")}`);
  return prepared.length / seconds;
}

function post(
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
  const sent = request(new URL(path, simulator.url), { method: "POST", agent, headers }, (response) => {
    const chunks: Uint8Array[] = [];
    response.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    response.once("error", reject);
    response.once("end", () => {
      if (openStatus !== null) answers.push(() => openStatus(Buffer.concat(chunks)));
      if (response.statusCode === 200) resolve();
      else reject(new Error(`${path} answers ${response.statusCode}`));
    });
  });
  sent.once("error", reject);
  sent.end(body);
  return promise;
}

function shortName(scheme: StampScheme): string {
  return scheme.replace("SIGNATURE_SCHEME_TK_API_", "").toLowerCase();
}

function print(...cells: readonly string[]): void {
  console.log(cells.map((cell) => cell.padStart(15)).join(""));
}
