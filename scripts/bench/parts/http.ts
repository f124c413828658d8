/** One enclave behind its parent over HTTP, end to end; the load generator and all else share the machine's cores. */
import { parseTransaction } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { residentMib } from "../../../bench/index.ts";
import type { JsonValue, OperationName } from "../../../protocol/index.ts";
import { startSimulator } from "../../../simulator/index.ts";
import { usdcTransfer } from "../../../test/support/transactions.ts";
import { type Measured, postAll, signingWith, startDeployment } from "../deployment.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { inTurns, perSecond, rateOf } from "../rounds.ts";

/** At most so long, about. */
const ROUND_S = 6;

interface Load {
  readonly name: string;
  readonly operation: OperationName;
  readonly inFlight: number;
  /** Requests a round. */
  readonly count: number;
  /** What one request stands for. */
  readonly each: number;
  readonly params: JsonValue;
}

export async function http({ isQuick, earlier }: PartContext): Promise<readonly Section[]> {
  const [rounds, share, starts] = isQuick ? [1, 0.2, 1] : [3, 1, 3];
  const startsMs: number[] = [];
  let idleMib: Readonly<Record<string, number>> = {};
  for (let start = 0; start < starts; start += 1) {
    await using once = await startSimulator();
    startsMs.push(once.startedInMs);
    idleMib = residentMib({ enclave: once.enclavePid, parent: once.parentPid });
  }
  await using deployment = await startDeployment();
  const { simulator } = deployment;
  const { session, key } = await deployment.logIn("bench");
  const { walletId } = await session.createWallet({ kind: "single-key" });
  const sign = signingWith(walletId);
  const one = { kind: "single-key" };
  const loads: readonly Load[] = [
    { name: "sign_transaction", operation: "sign_transaction", inFlight: 1, count: 800, each: 1, params: sign },
    { name: "sign_transaction", operation: "sign_transaction", inFlight: 32, count: 3000, each: 1, params: sign },
    {
      ...{ name: "sign_batch of 64, transactions", operation: "sign_batch", inFlight: 8, count: 60, each: 64 },
      params: { requests: Array(64).fill({ operation: "sign_transaction", params: sign }) },
    },
    { name: "create_wallet, single-key", operation: "create_wallet", inFlight: 32, count: 1500, each: 1, params: one },
    {
      ...{ name: "create_wallets of 100, wallets", operation: "create_wallets", inFlight: 8, count: 60, each: 100 },
      params: { wallets: Array(100).fill(one) },
    },
    {
      ...{ name: "create_wallet, hd (BIP-39)", operation: "create_wallet", inFlight: 32, count: 600, each: 1 },
      params: { kind: "hd" },
    },
  ];
  const rows: Section["rows"] = [];
  for (const load of loads) {
    const measured: Measured[] = [];
    // The first round is short and counts for nothing. It tells how many the others take: a slow machine gets fewer, since
    // what is stamped beforehand is good for a minute.
    let count = Math.ceil((load.count * share) / 5);
    for (let round = 0; round <= rounds; round += 1) {
      const prepared = await Promise.all(
        Array.from({ length: Math.max(2 * load.inFlight, count) }, () =>
          deployment.prepare(load.operation, load.params, key),
        ),
      );
      const result = await postAll(simulator.url, prepared, load.inFlight);
      if (round > 0) measured.push(result);
      else count = Math.min(load.count * share, Math.ceil(result.perSecond * ROUND_S));
    }
    const { best, slowest } = rateOf(measured.map((each) => each.perSecond * load.each));
    const bestRound = measured.find((each) => each.perSecond * load.each === best);
    rows.push({
      name: `${load.name}, ${load.inFlight} in flight`,
      cells: [best, slowest, bestRound?.p50Ms ?? null, bestRound?.p99Ms ?? null],
    });
  }
  const usedMib = residentMib({ enclave: simulator.enclavePid, parent: simulator.parentPid });
  const viem = await measureViem(rounds);
  const inProcess = earlier.find(({ name }) => name === "in-process")?.rows.find(({ name }) => name === "P-256 stamp");
  const alone = inProcess?.cells[0];
  const signed = rows[1]?.cells[0];
  const share32 = typeof alone === "number" && typeof signed === "number" ? signed / alone : null;
  const of = (mib: Readonly<Record<string, number>>, name: string) => mib[name] ?? null;
  return [
    {
      ...{ name: "http", title: "Over HTTP, end to end" },
      method:
        "Client, parent with SQLite, and enclave as processes on this machine, P-256 stamps made beforehand, one user. The best of " +
        `${rounds} rounds after one of warm-up, with that round's latencies of whole requests.` +
        (share32 === null
          ? ""
          : ` 32 in flight make ${share32.toFixed(2)} times what the enclave alone makes in the table above.`),
      columns: [
        { label: "a second", digits: 0 },
        { label: "slowest round", digits: 2 },
        { label: "p50 ms", digits: 2 },
        { label: "p99 ms", digits: 2 },
      ],
      rows: [...rows, { name: "viem, one signature after another in this process", cells: [viem, null, null, null] }],
    },
    {
      ...{ name: "start", title: "Start and memory" },
      method:
        `A start is everything: NSM, KMS, issuer, parent, and the enclave until it is ready; of ${starts}. Memory is resident, ` +
        "of Node processes (an image's memory is its machine's: see `make bench-emulated`).",
      columns: [{ label: "", digits: 0 }],
      rows: [
        { name: "quickest start, ms", cells: [Math.min(...startsMs)] },
        { name: "slowest start, ms", cells: [Math.max(...startsMs)] },
        { name: "enclave, just ready, MiB", cells: [of(idleMib, "enclave")] },
        { name: "parent, just ready, MiB", cells: [of(idleMib, "parent")] },
        { name: "enclave, after all of the table above, MiB", cells: [of(usedMib, "enclave")] },
        { name: "parent, after all of the table above, MiB", cells: [of(usedMib, "parent")] },
      ],
    },
  ];
}

/** Of the same transaction by the same curve, with nothing around it. */
async function measureViem(rounds: number): Promise<number> {
  const account = privateKeyToAccount(generatePrivateKey());
  const transaction = parseTransaction(usdcTransfer());
  const { viem } = await inTurns(
    { viem: { round: () => perSecond(300, 1, () => account.signTransaction(transaction)) } },
    rounds,
  );
  return viem.best;
}
