/**
 * Requests through balancer, parents and enclaves on one PostgreSQL, with one, two and three enclaves. All of it, the
 * database and the callers included, shares this machine's cores: what a second machine would add cannot be seen here.
 */
import { Latencies } from "../../../bench/index.ts";
import { generateStampKey, loginNonce, type Session } from "../../../client/index.ts";
import { startCluster } from "../../../simulator/index.ts";
import { isPostgresAbsent } from "../../../simulator/local-postgres.ts";
import { usdcTransfer } from "../../../test/support/transactions.ts";
import { costOfLooking } from "../cost-of-looking.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";

const USERS = 16;

interface Caller {
  readonly session: Session;
  readonly walletId: string;
}

export async function enclaves({ isQuick, sizes }: PartContext): Promise<readonly Section[]> {
  if (isPostgresAbsent) throw new Error("no PostgreSQL on this machine: apt-get install postgresql");
  const seconds = isQuick ? 1 : 4;
  const unsignedTransaction = usdcTransfer();
  const rows: Section["rows"] = [];
  for (const count of sizes ?? [1, 2, 3]) {
    await using cluster = await startCluster({ enclaves: count, database: "local" });
    const client = await cluster.connect();
    const { issuer, jwksUri } = cluster.issuer;
    const { appId } = await client.createApp([cluster.administratorKey], {
      name: "bench",
      issuers: [{ issuer, audiences: ["bench"], jwksUri, algorithms: ["ES256", "RS256"] }],
      sessionLifetimeS: 900,
      signingPolicy: { evmChainIds: ["1"], messages: "allow" },
    });
    const callers: Caller[] = [];
    for (let user = 0; user < USERS; user += 1) {
      const through = await cluster.connect();
      const key = await generateStampKey();
      const jwt = await cluster.issuer.mint({
        subject: `user-${user}`,
        audience: "bench",
        nonce: await loginNonce(key),
      });
      const session = await through.login({ appId, jwt, key });
      const { walletId } = await session.createWallet({ kind: "single-key" });
      callers.push({ session, walletId });
    }
    const cells: number[] = [];
    for (const work of [
      ({ session, walletId }: Caller) =>
        session.call("sign_transaction", { walletId, chainId: "1", unsignedTransaction }),
      ({ session }: Caller) => session.listWallets(),
      ({ session }: Caller) => session.createWallet({ kind: "single-key" }),
    ]) {
      await measure(callers, work, 0.5);
      cells.push(...(await measure(callers, work, seconds)));
    }
    rows.push({ name: String(count), cells });
  }
  const labels = ["signed", "listed", "created"];
  return [
    {
      ...{ name: "enclaves", title: "By enclaves over one PostgreSQL" },
      method:
        `Requests a second by ${USERS} callers with the client library, each with a user and a wallet of its own, through the ` +
        `simulator's balancer, for ${seconds} s after half a second of warm-up. Everything is on this one machine, so more enclaves share ` +
        "the same cores: the table shows that they do no harm to one another, and cannot show what machines of their own add.",
      columns: labels.flatMap((label) => [
        { label: `${label} a second`, digits: 0 },
        { label: "p50 ms", digits: 1 },
        { label: "p99 ms", digits: 1 },
      ]),
      rows,
    },
    await costOfLooking(isQuick),
  ];
}

async function measure(
  callers: readonly Caller[],
  work: (caller: Caller) => Promise<unknown>,
  seconds: number,
): Promise<number[]> {
  const latencies = new Latencies();
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  await Promise.all(
    callers.map(async (caller) => {
      while (performance.now() < end) {
        const askedAt = performance.now();
        await work(caller);
        latencies.record(performance.now() - askedAt);
      }
    }),
  );
  const { count, p50Ms, p99Ms } = latencies.summary();
  return [count / ((performance.now() - startedAt) / 1000), p50Ms, p99Ms];
}
