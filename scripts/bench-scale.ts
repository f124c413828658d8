/**
 * Measures requests through balancer, parents and enclaves on one PostgreSQL, with one, two and three enclaves, and what it
 * costs an enclave to look at a user anew. All of it, the database included, shares this machine's cores: what a second
 * machine would add cannot be seen here.
 */
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";
import { generateStampKey, loginNonce, type Session } from "../client/index.ts";
import { startCluster } from "../simulator/index.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "4" } } });
const MEASURE_MS = Number(values.seconds) * 1000;
const USERS = 16;

console.log(
  `${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, Node ${process.version}; ${USERS} users\n`,
);
console.log(
  "| enclaves | list wallets /s | p50 / p99 ms | account read /s | p50 / p99 ms | create wallet /s | p50 / p99 ms |",
);
console.log("|---|---|---|---|---|---|---|");
for (const enclaves of [1, 2, 3]) {
  await using cluster = await startCluster({ enclaves, database: "local" });
  const client = await cluster.connect();
  const { issuer, jwksUri } = cluster.issuer;
  const { appId } = await client.createApp([cluster.administratorKey], {
    name: "bench",
    issuers: [{ issuer, audiences: ["bench"], jwksUri, algorithms: ["ES256", "RS256"] }],
    sessionLifetimeS: 900,
    signingPolicy: { evmChainIds: ["1"], messages: "allow" },
  });
  const sessions: Session[] = [];
  for (let user = 0; user < USERS; user += 1) {
    const through = await cluster.connect();
    const key = await generateStampKey();
    const jwt = await cluster.issuer.mint({ subject: `user-${user}`, audience: "bench", nonce: await loginNonce(key) });
    sessions.push(await through.login({ appId, jwt, key }));
  }
  const cells: string[] = [];
  for (const work of [
    // Rests on a user of a moment ago.
    (session: Session) => session.listWallets(),
    // Reads the user anew each time.
    (session: Session) => session.listSessions(),
    (session: Session) => session.createWallet({ kind: "single-key" }),
  ]) {
    cells.push(...(await measure(sessions, work)));
  }
  console.log(`| ${enclaves} | ${cells.join(" | ")} |`);
}

async function measure(sessions: readonly Session[], work: (session: Session) => Promise<unknown>): Promise<string[]> {
  const times: number[] = [];
  const startedAt = performance.now();
  const end = startedAt + MEASURE_MS;
  await Promise.all(
    sessions.map(async (session) => {
      while (performance.now() < end) {
        const askedAt = performance.now();
        await work(session);
        times.push(performance.now() - askedAt);
      }
    }),
  );
  const perSecond = times.length / ((performance.now() - startedAt) / 1000);
  times.sort((one, another) => one - another);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(1);
  return [perSecond.toFixed(0), `${at(0.5)} / ${at(0.99)}`];
}
