/**
 * Requests by the enclave's own request handler in this process, by the scheme of the stamp and in batches, beside what many
 * would write: node:crypto verifies a P-256 stamp under a key that is at hand, viem signs what is parsed already.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parseTransaction } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import type { ReceivedRequest } from "../../../enclave/answer.ts";
import { type AppOperation, type JsonValue, type StampScheme, z } from "../../../protocol/index.ts";
import { generateKeyOf } from "../../../test/support/app-requests.ts";
import { usdcTransfer } from "../../../test/support/transactions.ts";
import { EnclaveInProcess } from "../enclave-in-process.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { type Contestant, CpuByThread, inTurns, perSecond } from "../rounds.ts";

const IN_FLIGHT = 16;
const PEER = "node:crypto and viem";
const MANY_IN_FLIGHT = 64;
const NO_WORKERS = "the main thread alone";
const WORKERS: readonly (readonly [name: string, workers: number])[] = [
  [NO_WORKERS, 0],
  ["and one signing worker", 1],
  ["and two signing workers", 2],
];
const SCHEMES: readonly (readonly [name: string, scheme: StampScheme])[] = [
  ["P-256", "SIGNATURE_SCHEME_TK_API_P256"],
  ["secp256k1", "SIGNATURE_SCHEME_TK_API_SECP256K1"],
  ["Ed25519", "SIGNATURE_SCHEME_TK_API_ED25519"],
];

export async function inProcess({ isQuick }: PartContext): Promise<readonly Section[]> {
  const [rounds, count] = isQuick ? [1, 300] : [5, 1_500];
  const unsignedTransaction = usdcTransfer();
  const enclave = await EnclaveInProcess.start();
  const keys = SCHEMES.map(([name, scheme]) => ({ name, key: generateKeyOf(scheme) }));
  for (const { key } of keys) await enclave.logIn(key);
  const key = keys[0]?.key ?? generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
  const made = await enclave.result(await enclave.stamp(key, "create_wallet", { kind: "hd" }));
  const { walletId } = z.object({ walletId: z.string() }).parse(made);
  const params = { walletId, chainId: "1", unsignedTransaction };

  /** Stamps are made beforehand: what callers do is not measured. */
  const handling = (by: typeof key, operation: AppOperation, each: number, paramsOf: () => JsonValue): Contestant => ({
    round: async () => {
      const requests: ReceivedRequest[] = [];
      for (let at = 0; at < Math.max(8, Math.ceil(count / each)); at += 1) {
        requests.push(await enclave.stamp(by, operation, paramsOf()));
      }
      const handled = await perSecond(requests.length, IN_FLIGHT, async (at) => {
        const request = requests[at];
        if (request === undefined) throw new Error("unreachable: one request for each turn");
        const answer = await enclave.handle(request);
        if (each > 1 && Buffer.from(answer).includes('"error"')) throw new Error("an element was refused");
      });
      return handled * each;
    },
  });
  const peer = peerOf((await enclave.stamp(key, "sign_transaction", params)).body, unsignedTransaction);
  const batch = () => ({ requests: Array(64).fill({ operation: "sign_transaction", params }) });
  const wallets = (each: number) => () => ({ wallets: Array(each).fill({ kind: "single-key" }) });
  const signing: Record<string, Contestant> = { [PEER]: { round: () => perSecond(count / 5, 1, peer) } };
  for (const { name, key: by } of keys) signing[`${name} stamp`] = handling(by, "sign_transaction", 1, () => params);
  signing["P-256 stamp, 64 under one"] = handling(key, "sign_batch", 64, batch);
  const signed = await inTurns(signing, rounds);
  // After all of the former: tens of thousands of wallets make a heap that slows whatever comes next.
  const created = await inTurns(
    {
      "P-256 stamp, one by one": handling(key, "create_wallet", 1, () => ({ kind: "single-key" })),
      "P-256 stamp, 100 under one": handling(key, "create_wallets", 100, wallets(100)),
      "P-256 stamp, 1,000 under one": handling(key, "create_wallets", 1_000, wallets(1_000)),
    },
    Math.min(rounds, 3),
  );
  await enclave.close();
  const withWorkers = await besideWorkers(rounds, count, unsignedTransaction);
  const peerPerSecond = signed[PEER]?.best ?? Number.NaN;
  const columns = [
    { label: "a second", digits: 0 },
    { label: "median round", digits: 0 },
    { label: "slowest round", digits: 2 },
  ];
  const how = (some: number) =>
    `The enclave's request handler over records in memory, without HTTP and parent, ${IN_FLIGHT} requests in flight, from the ` +
    `stamped body to the signed answer; the best of ${some} rounds in turns after one of warm-up.`;
  return [
    {
      ...{ name: "in-process", title: "Signed EIP-1559 transactions, the enclave alone" },
      method: `${how(rounds)} "${PEER}" is two calls: a P-256 stamp is verified, and a transaction signed that is parsed already.`,
      columns: [...columns, { label: "times node:crypto and viem", digits: 1 }],
      rows: Object.entries(signed).map(([name, { best, median, slowest }]) => ({
        name,
        cells: [best, median, slowest, best / peerPerSecond],
      })),
    },
    {
      ...{ name: "in-process-wallets", title: "Single-key wallets, the enclave alone" },
      method: `${how(Math.min(rounds, 3))} Wallets a second, all of one user.`,
      columns,
      rows: Object.entries(created).map(([name, { best, median, slowest }]) => ({
        name,
        cells: [best, median, slowest],
      })),
    },
    {
      ...{ name: "in-process-workers", title: "Signed EIP-1559 transactions, with signing workers" },
      method:
        `As above, P-256 stamps, ${MANY_IN_FLIGHT} in flight; what asks is the main thread too. More threads than the machine has ` +
        "processors take turns on them. CPU time is of one request, in the median round: of the main thread, and of all others, " +
        "which are the workers and what V8 and libuv do aside.",
      columns: [
        ...columns,
        { label: "times none", digits: 2 },
        { label: "main µs", digits: 0 },
        { label: "others µs", digits: 0 },
      ],
      rows: Object.entries(withWorkers.rates).map(([name, { best, median, slowest }]) => ({
        name,
        cells: [
          ...[best, median, slowest, best / (withWorkers.rates[NO_WORKERS]?.best ?? Number.NaN)],
          ...(withWorkers.cpu.get(name)?.medians() ?? [null, null]),
        ],
      })),
    },
  ];
}

/** Threads beside the main one. */
async function besideWorkers(rounds: number, count: number, unsignedTransaction: string) {
  const contestants: Record<string, Contestant> = {};
  const cpu = new Map<string, CpuByThread>();
  const enclaves: EnclaveInProcess[] = [];
  for (const [name, workers] of WORKERS) {
    const enclave = await EnclaveInProcess.start({ workers });
    enclaves.push(enclave);
    const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    await enclave.logIn(key);
    const made = await enclave.result(await enclave.stamp(key, "create_wallet", { kind: "hd" }));
    const { walletId } = z.object({ walletId: z.string() }).parse(made);
    while (enclave.parts.workers.serving < workers) await sleep(10);
    const used = new CpuByThread();
    cpu.set(name, used);
    contestants[name] = {
      round: async () => {
        const requests: ReceivedRequest[] = [];
        const params = { walletId, chainId: "1", unsignedTransaction };
        for (let at = 0; at < count; at += 1) requests.push(await enclave.stamp(key, "sign_transaction", params));
        return used.of(count, () =>
          perSecond(count, MANY_IN_FLIGHT, async (at) => {
            const request = requests[at];
            if (request === undefined) throw new Error("unreachable: one request for each turn");
            await enclave.handle(request);
          }),
        );
      },
    };
  }
  const rates = await inTurns(contestants, rounds);
  for (const enclave of enclaves) await enclave.close();
  return { rates, cpu };
}

function peerOf(body: Uint8Array, unsigned: `0x${string}`): () => Promise<unknown> {
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
