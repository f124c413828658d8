/**
 * Measures one enclave behind its parent over HTTP, beside viem signing the same transaction in this process: all in
 * one run, so that the ratios mean something on a machine whose speed drifts. Load generator, parent, enclave, KMS and
 * NSM share the machine's cores.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { availableParallelism, cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { parseTransaction, serializeTransaction } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { generateStampKey, loginNonce, type StampKey } from "../client/index.ts";
import {
  encodeRequest,
  encodeStamp,
  type JsonValue,
  type OperationName,
  type Params,
  STAMP_HEADER,
} from "../protocol/index.ts";
import { type Simulator, startSimulator } from "../simulator/index.ts";

const { values } = parseArgs({ options: { requests: { type: "string", default: "3000" } } });
const REQUESTS = Number(values.requests);
const ROUNDS = 3;
const STARTS = 3;

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

interface Prepared {
  readonly path: string;
  readonly body: Uint8Array;
  readonly stamp: string;
}

interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
    `Node ${process.version}; ${REQUESTS} requests a round, best of ${ROUNDS} rounds\n`,
);

const startsMs: number[] = [];
for (let start = 0; start < STARTS; start += 1) {
  await using once = await startSimulator();
  startsMs.push(once.startedInMs);
}

await using simulator = await startSimulator();
const client = await simulator.connect();
const { issuer, jwksUri } = simulator.issuer;
const { appId } = await client.createApp([simulator.administratorKey], {
  name: "bench",
  issuers: [{ issuer, audiences: ["bench"], jwksUri, algorithms: ["ES256"] }],
  sessionLifetimeS: 3600,
  signingPolicy: { evmChainIds: ["1"], messages: "deny" },
});
const key = await generateStampKey();
const jwt = await simulator.issuer.mint({
  subject: "bench",
  audience: "bench",
  nonce: await loginNonce(key),
  algorithm: "ES256",
  lifetimeS: 3600,
});
const session = await client.login({ appId, jwt, key });
const { walletId } = await session.createWallet({ kind: "single-key" });

const signing = { walletId, chainId: "1", unsignedTransaction };
const at1 = await best("sign_transaction", signing, 1, Math.ceil(REQUESTS / 3));
const at32 = await best("sign_transaction", signing, 32, REQUESTS);
const singleKeys = await best("create_wallet", { kind: "single-key" }, 32, REQUESTS);
const mnemonics = await best("create_wallet", { kind: "hd" }, 32, Math.ceil(REQUESTS / 3));
const memory = { enclave: residentMib(simulator.enclavePid), parent: residentMib(simulator.parentPid) };
const viem = await measureViem();

const rows: [string, string, string, string, string][] = [
  ["", "per second", "p50 ms", "p99 ms", "ratio to viem"],
  row("sign_transaction, 1 in flight", at1),
  row("sign_transaction, 32 in flight", at32),
  row("create_wallet single-key, 32 in flight", singleKeys),
  row("create_wallet hd (BIP-39), 32 in flight", mnemonics),
  ["viem signTransaction, in this process", viem.toFixed(0), (1000 / viem).toFixed(2), "", "1.00"],
];
for (const [name, ...cells] of rows) console.log(name.padEnd(42) + cells.map((cell) => cell.padStart(14)).join(""));
console.log(`
time to ready: ${startsMs.join(", ")} ms
resident memory after all of this: enclave ${memory.enclave} MiB, parent ${memory.parent} MiB`);

function row(name: string, { perSecond, p50Ms, p99Ms }: Measured): [string, string, string, string, string] {
  return [name, perSecond.toFixed(0), p50Ms.toFixed(2), p99Ms.toFixed(2), (perSecond / viem).toFixed(2)];
}

/** Stamps are made beforehand: what is measured is the service, not its caller. */
async function best<Name extends OperationName>(
  operation: Name,
  params: Params<Name>,
  inFlight: number,
  count: number,
): Promise<Measured> {
  const rounds: Measured[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const prepared = await Promise.all(Array.from({ length: count }, () => prepare(simulator, operation, params, key)));
    rounds.push(await measure(prepared, inFlight));
  }
  return rounds.reduce((first, second) => (second.perSecond > first.perSecond ? second : first));
}

async function prepare<Name extends OperationName>(
  { deployment }: Simulator,
  operation: Name,
  params: Params<Name>,
  { scheme, publicKey, sign }: StampKey,
): Promise<Prepared> {
  const body = encodeRequest({
    operation,
    audience: `${deployment}/${appId}`,
    requestId: randomUUID(),
    issuedAtMs: simulator.nowMs() - 100,
    params: params as JsonValue,
  });
  return { path: `/v1/${operation}`, body, stamp: encodeStamp({ scheme, publicKey, signature: await sign(body) }) };
}

async function measure(prepared: readonly Prepared[], inFlight: number): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const latenciesMs: number[] = [];
  const waiting = [...prepared];
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const sentAt = performance.now();
        await post(agent, next);
        latenciesMs.push(performance.now() - sentAt);
      }
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  agent.destroy();
  latenciesMs.sort((first, second) => first - second);
  const at = (quantile: number) =>
    latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * quantile))] ?? 0;
  return { perSecond: prepared.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function post(agent: Agent, { path, body, stamp }: Prepared): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const headers = { "content-type": "application/json", [STAMP_HEADER]: stamp };
  const sent = request(new URL(path, simulator.url), { method: "POST", agent, headers }, (response) => {
    response.resume();
    response.once("error", reject);
    response.once("end", () => {
      // A bench that counted refusals as work would be fast and worthless.
      if (response.statusCode === 200) resolve();
      else reject(new Error(`${path} answers ${response.statusCode}`));
    });
  });
  sent.once("error", reject);
  sent.end(body);
  return promise;
}

/** Signatures a second, of the same transaction by the same curve, with nothing around them. */
async function measureViem(): Promise<number> {
  const account = privateKeyToAccount(generatePrivateKey());
  const transaction = { ...parseTransaction(unsignedTransaction), type: "eip1559", chainId: 1 } as const;
  for (let warmUp = 0; warmUp < 50; warmUp += 1) await account.signTransaction(transaction);
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const count = 500;
    const startedAt = performance.now();
    for (let made = 0; made < count; made += 1) await account.signTransaction(transaction);
    rates.push((count / (performance.now() - startedAt)) * 1000);
  }
  return Math.max(...rates);
}

/** Linux: VmRSS of proc_pid_status(5), in kB. */
function residentMib(pid: number): string {
  try {
    const kib = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kib === undefined ? "unknown" : (Number(kib) / 1024).toFixed(0);
  } catch {
    return "unknown (no /proc)";
  }
}
