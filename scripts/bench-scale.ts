/**
 * Measures requests through balancer, parents and enclaves on one PostgreSQL, with one, two and three enclaves, and what it
 * costs an enclave to look at a user anew. All of it, the database included, shares this machine's cores: what a second
 * machine would add cannot be seen here.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { generateStampKey, loginNonce, type Session } from "../client/index.ts";
import { FreshCache } from "../enclave/vault/fresh-cache.ts";
import { RecordCipher } from "../enclave/vault/record-cipher.ts";
import { RecordStore } from "../enclave/vault/record-store.ts";
import { change, Records } from "../enclave/vault/records.ts";
import { startParentProxy } from "../parent-proxy/index.ts";
import { z } from "../protocol/index.ts";
import { startCluster } from "../simulator/index.ts";
import { startLocalPostgres } from "../simulator/local-postgres.ts";
import { guestVsock, hostVsock } from "../vsock/index.ts";

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
for (const enclaves of MEASURE_MS > 0 ? [1, 2, 3] : []) {
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

await costOfLooking();

/** One user's record, read by an enclave's own code through a parent from PostgreSQL: from memory, looked at again, read. */
async function costOfLooking(): Promise<void> {
  const undo: (() => Promise<void> | void)[] = [];
  try {
    const folder = await mkdtemp(join(tmpdir(), "cl-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const { admin } = await startLocalPostgres({}, (each) => void undo.push(each));
    const path = join(folder, "v");
    const parent = await startParentProxy({
      vsock: hostVsock(path),
      http: { host: "127.0.0.1", port: 0 },
      records: { kind: "postgres", ...admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 8 },
      egress: { allow: [], connectTo: new Map() },
      credentials: () => Promise.reject(new Error("none")),
      log: pino({ level: "silent" }),
    });
    undo.push(() => parent.close());
    const store = new RecordStore(guestVsock(path));
    undo.push(() => store.close());
    const cipher = new RecordCipher(new Uint8Array(32), { deployment: "bench", generation: 1 });
    const records = new Records(store, cipher, undefined, Date.now);
    const kind = { prefix: "user/", schema: z.strictObject({ text: z.string() }) };
    await records.write([change(kind, "a", null, { text: "x".repeat(1_000) })]);
    const cache = new FreshCache({ records, kind, nowMs: Date.now, maxBytes: 1024 * 1024 });
    const cost = async (name: string, calls: number, work: () => Promise<unknown>) => {
      const startedAt = performance.now();
      for (let call = 0; call < calls; call += 1) await work();
      console.log(`${name}: ${(((performance.now() - startedAt) * 1000) / calls).toFixed(1)} µs`);
    };
    console.log("\nA user of 1 kB, one at a time, PostgreSQL and parent on this machine:");
    await cost("trusted for a second", 100_000, () => cache.read("a"));
    await cost("looked at again each time", 5_000, () => cache.read("a", 0));
    await cost("read and opened each time", 5_000, () => records.read(kind, "a"));
  } finally {
    for (const each of undo.toReversed()) await each();
  }
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
