/**
 * Measures signed EIP-1559 transactions by the enclave's own request handler in this process, by the scheme of the stamp,
 * beside what many would write: node:crypto verifies a P-256 stamp under a key that is at hand, viem signs what is parsed
 * already. In turns, so that what slows the machine slows both.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { availableParallelism, cpus, loadavg } from "node:os";
import { parseTransaction } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import type { ReceivedRequest } from "../enclave/answer.ts";
import { secp256k1Binding } from "../enclave/signing/secp256k1.ts";
import { type AppOperation, type JsonValue, type StampScheme, z } from "../protocol/index.ts";
import { generateKeyOf } from "../test/support/app-requests.ts";
import { usdcTransfer } from "../test/support/transactions.ts";
import { EnclaveInProcess } from "./bench/enclave-in-process.ts";

const ROUNDS = 5;
const REQUESTS = 1500;
const IN_FLIGHT = 16;
/** By issue: signing stamped so, as a multiple of the peer in the same run. */
const SCHEMES: readonly { readonly name: string; readonly scheme: StampScheme; readonly target: number | null }[] = [
  { name: "P-256", scheme: "SIGNATURE_SCHEME_TK_API_P256", target: 6 },
  { name: "secp256k1", scheme: "SIGNATURE_SCHEME_TK_API_SECP256K1", target: 9 },
  { name: "Ed25519", scheme: "SIGNATURE_SCHEME_TK_API_ED25519", target: null },
];

const WORKER_COUNTS = [0, 1, 2] as const;
const MANY_IN_FLIGHT = 64;

const unsigned = usdcTransfer();
const enclave = await EnclaveInProcess.start();
const keys = SCHEMES.map(({ scheme }) => generateKeyOf(scheme));
for (const key of keys) await enclave.logIn(key);
const [first] = keys;
if (first === undefined) throw new Error("no scheme");
const made = await enclave.result(await enclave.stamp(first, "create_wallet", { kind: "hd" }));
const { walletId } = z.object({ walletId: z.string() }).parse(made);
const params = { walletId, chainId: "1", unsignedTransaction: unsigned };

/** One stamp for many: how many of each a second. */
const signing = { operation: "sign_transaction", params };
const BATCHES: readonly {
  readonly name: string;
  readonly operation: AppOperation;
  readonly each: number;
  readonly paramsOf: () => JsonValue;
}[] = [
  {
    name: "transactions, 64 a batch",
    operation: "sign_batch",
    each: 64,
    paramsOf: () => ({ requests: Array(64).fill(signing) }),
  },
  {
    name: "single-key wallets, one by one",
    operation: "create_wallet",
    each: 1,
    paramsOf: () => ({ kind: "single-key" }),
  },
  ...[100, 1_000].map((each) => ({
    name: `single-key wallets, ${each} a batch`,
    operation: "create_wallets" as const,
    each,
    paramsOf: () => ({ wallets: Array(each).fill({ kind: "single-key" }) }),
  })),
];

const peer = peerOf((await enclave.stamp(first, "sign_transaction", params)).body);
const best = new Map<string, number>();
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const [at, { name }] of SCHEMES.entries()) {
    const key = keys[at];
    if (key === undefined) throw new Error("no key");
    const requests: ReceivedRequest[] = [];
    for (let each = 0; each < REQUESTS; each += 1) {
      requests.push(await enclave.stamp(key, "sign_transaction", params));
    }
    note(name, round, await perSecond(requests.length, IN_FLIGHT, (each) => enclave.handle(requests[each] ?? raise())));
  }
  note("peer", round, await perSecond(REQUESTS / 5, 1, peer));
}
// After all of the former: tens of thousands of wallets make a heap that slows whatever comes next.
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const { name, operation, each, paramsOf } of BATCHES) {
    const requests: ReceivedRequest[] = [];
    const count = Math.max(8, Math.ceil(1_000 / each));
    for (let at = 0; at < count; at += 1) requests.push(await enclave.stamp(first, operation, paramsOf()));
    const handled = await perSecond(count, IN_FLIGHT, async (at) => {
      const answer = await enclave.handle(requests[at] ?? raise());
      if (Buffer.from(answer).includes('"error"')) throw new Error("an element was refused");
    });
    note(name, round, handled * each);
  }
}
await enclave.close();

await measureWorkers();

const peerPerSecond = best.get("peer") ?? Number.NaN;
console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}, ` +
    `Node ${process.version}, secp256k1: ${secp256k1Binding}\n`,
);
console.log("signed transactions a second, in process          ours      peer   ratio  target");
for (const { name, target } of SCHEMES) {
  const ours = best.get(name) ?? Number.NaN;
  const cells = [ours.toFixed(0), peerPerSecond.toFixed(0), (ours / peerPerSecond).toFixed(1), target ?? "-"];
  console.log(
    `${`stamp by ${name}`.padEnd(44)}${cells.map((cell, at) => `${cell}`.padStart(at < 2 ? 10 : 8)).join("")}`,
  );
}
console.log("\nP-256 stamp                                   a second");
for (const { name } of BATCHES)
  console.log(`${name.padEnd(44)}${(best.get(name) ?? Number.NaN).toFixed(0).padStart(10)}`);
const alone = best.get("0 workers") ?? Number.NaN;
console.log("\nP-256-stamped transactions, 64 at once        a second   ratio");
for (const workers of WORKER_COUNTS) {
  const rate = best.get(`${workers} workers`) ?? Number.NaN;
  const name = workers === 0 ? "the main thread alone" : `and ${workers} signing worker${workers === 1 ? "" : "s"}`;
  console.log(`${name.padEnd(44)}${rate.toFixed(0).padStart(10)}${(rate / alone).toFixed(2).padStart(8)}`);
}
console.log("\npeer: node:crypto verifies P-256 (key at hand), viem signs (parsed already)");

/** Threads beside the main one, in turns. What asks is the main thread too; the stamps are made beforehand. */
async function measureWorkers(): Promise<void> {
  if (first === undefined) throw new Error("no scheme");
  const running = [];
  for (const count of WORKER_COUNTS) {
    const beside = await EnclaveInProcess.start({ workers: count });
    await beside.logIn(first);
    const wallet = await beside.result(await beside.stamp(first, "create_wallet", { kind: "hd" }));
    running.push({ count, beside, ...z.object({ walletId: z.string() }).parse(wallet) });
    while (beside.parts.workers.serving < count) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const { count, beside, walletId: id } of running) {
      const requests: ReceivedRequest[] = [];
      for (let each = 0; each < REQUESTS; each += 1)
        requests.push(await beside.stamp(first, "sign_transaction", { ...params, walletId: id }));
      const handle = (each: number) => beside.handle(requests[each] ?? raise());
      note(`${count} workers`, round, await perSecond(REQUESTS, MANY_IN_FLIGHT, handle));
    }
  }
  for (const { beside } of running) await beside.close();
}

/** The first round warms up. */
function note(name: string, round: number, value: number): void {
  if (round > 0) best.set(name, Math.max(best.get(name) ?? 0, value));
}

function peerOf(body: Uint8Array): () => Promise<unknown> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = createPublicKey(publicKey.export({ type: "spki", format: "pem" }));
  const signature = sign("sha256", body, privateKey);
  const account = privateKeyToAccount(generatePrivateKey());
  const transaction = parseTransaction(unsigned);
  return async () => {
    if (!verify("sha256", body, key, signature)) throw new Error("the stamp is wrong");
    return account.signTransaction(transaction);
  };
}

async function perSecond(count: number, inFlight: number, work: (at: number) => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const at = next;
      next += 1;
      await work(at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count / (performance.now() - startedAt)) * 1000;
}

function raise(): never {
  throw new Error("unreachable: one request for each turn");
}
