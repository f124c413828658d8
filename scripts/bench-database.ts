/**
 * Shows what PostgreSQL does for each query of the records store, and how its cost grows: a private server, filled to 10^4,
 * 10^5 and 10^6 records, the plan of each query as the store runs it, and the time of each through the store itself.
 */
import { createHash } from "node:crypto";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import pg from "pg";
import { pino } from "pino";
import { openPostgresRecordStore } from "../parent-proxy/records/postgres-record-store.ts";
import { startLocalPostgres } from "../simulator/local-postgres.ts";

const { values } = parseArgs({
  options: { records: { type: "string", default: "10000,100000,1000000" }, calls: { type: "string", default: "2000" } },
});
const SIZES = values.records.split(",").map(Number);
const CALLS = Number(values.calls);
/** As many bytes as a wallet's record has. */
const VALUE_BYTES = 400;
const WALLETS_PER_USER = 10;

/** Names as the enclave makes them: of ids that are hashes, ten wallets to a user. */
const FILL = `
  INSERT INTO cloister.records
  SELECT 'wallet/app_' || md5('a') || '/usr_' || md5((i / ${WALLETS_PER_USER})::text) || '/wal_' || md5('w' || i), 1,
         decode(repeat('ab', ${VALUE_BYTES}), 'hex'), NULL
  FROM generate_series($1::int, $2::int) i`;
const EXPIRING = `
  INSERT INTO cloister.records
  SELECT 'session/app_' || md5('a') || '/ses_' || md5('s' || i), 1, decode(repeat('ab', 100), 'hex'), 1000000 + i
  FROM generate_series(1, 2000) i ON CONFLICT DO NOTHING`;

const user = (at: number) => `wallet/app_${hash("a")}/usr_${hash(String(at))}/`;
const wallet = (at: number) => `${user(Math.floor(at / WALLETS_PER_USER))}wal_${hash(`w${at}`)}`;

const undo: (() => Promise<void>)[] = [];
try {
  const server = await startLocalPostgres(
    { shared_buffers: "256MB", max_wal_size: "4GB" },
    (each) => void undo.push(each),
  );
  const options = { ...server.admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 8 } as const;
  const store = await openPostgresRecordStore(options, pino({ level: "silent" }));
  undo.push(() => store.close());
  const admin = new pg.Client(server.admin);
  await admin.connect();
  undo.push(() => admin.end());
  const { rows } = await admin.query("SHOW server_version");
  console.log(
    `${cpus()[0]?.model ?? "unknown CPU"}, PostgreSQL ${rows[0].server_version}, values of ${VALUE_BYTES} bytes`,
  );
  console.log(
    "Milliseconds for each call through the store, one at a time, p50 and p99; then MiB on disk, table and index.\n",
  );
  console.log("| records | get | list (15) | write 1 | write 3 | remove 100 expired | table | index |");
  console.log("|---|---|---|---|---|---|---|---|");
  let filled = 0;
  for (const size of SIZES) {
    await admin.query({ text: FILL, values: [filled, size - 1] });
    await admin.query(EXPIRING);
    filled = size;
    await admin.query("VACUUM ANALYZE cloister.records");
    const any = () => Math.floor(Math.random() * size);
    const versions = new Map<string, number>();
    const next = (name: string) => {
      const version = versions.get(name) ?? 1;
      versions.set(name, version + 1);
      return { name, expectedVersion: version, version: version + 1, value: new Uint8Array(VALUE_BYTES) };
    };
    const three = () => [...new Set([any(), any(), any()])].map((at) => next(wallet(at)));
    const cells = [
      await timed(CALLS, () => store.get(wallet(any()))),
      await timed(CALLS, () =>
        store.list({ prefix: user(Math.floor(any() / WALLETS_PER_USER)), after: null, limit: 15 }),
      ),
      await timed(CALLS / 4, () => store.write([next(wallet(any()))])),
      await timed(CALLS / 4, () => store.write(three())),
      await timed(15, () => store.removeExpired(Number.MAX_SAFE_INTEGER, 100)),
    ];
    await admin.query("UPDATE cloister.records SET version = 1 WHERE version <> 1");
    const sizes = await admin.query(
      "SELECT sum(pg_table_size(oid))::bigint AS data, sum(pg_indexes_size(oid))::bigint AS index FROM pg_class " +
        "WHERE relkind = 'r' AND relnamespace = 'cloister'::regnamespace",
    );
    const mib = (bytes: string) => `${Math.round(Number(bytes) / 2 ** 20)}`;
    console.log(`| ${size} | ${cells.join(" | ")} | ${mib(sizes.rows[0].data)} | ${mib(sizes.rows[0].index)} |`);
  }
  await admin.query(EXPIRING);
  await admin.query("VACUUM ANALYZE cloister.records");
  console.log(`\nPlans at ${filled} records, as prepared statements run them:`);
  const at = Math.floor(filled / 2);
  await plan(admin, "get", "text", "SELECT name, version, value, expires_at FROM cloister.records WHERE name = $1", [
    literal(wallet(at)),
  ]);
  const list =
    "SELECT name, version, value, expires_at FROM cloister.records " +
    "WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4";
  const prefix = user(Math.floor(at / WALLETS_PER_USER));
  await plan(admin, "list", "text, text, text, int", list, [literal(prefix), literal(`${prefix}\u{7f}`), "''", "15"]);
  const lock = "SELECT 1 FROM cloister.records WHERE name = $1 FOR UPDATE";
  await plan(admin, "write: lock, of several", "text", lock, [literal(wallet(at))]);
  const update = "UPDATE cloister.records SET version = $2, value = value WHERE name = $1 AND version = $3";
  await plan(admin, "write: update", "text, bigint, bigint", update, [literal(wallet(at)), "2", "1"]);
  const remove =
    "DELETE FROM cloister.records WHERE name = ANY (ARRAY" +
    "(SELECT name FROM cloister.records WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
  await plan(admin, "remove expired", "bigint, int", remove, ["1000100", "100"]);
} finally {
  for (const each of undo.toReversed()) await each();
}

/** A plan for any values, as PostgreSQL settles on after five runs of a prepared statement. */
async function plan(
  client: pg.Client,
  name: string,
  types: string,
  text: string,
  args: readonly string[],
): Promise<void> {
  await client.query("SET plan_cache_mode = force_generic_plan");
  await client.query("BEGIN");
  await client.query(`PREPARE shown (${types}) AS ${text}`);
  const { rows } = await client.query(
    `EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE shown (${args.join(", ")})`,
  );
  await client.query("ROLLBACK");
  await client.query("DEALLOCATE shown");
  const lines = rows.map((row) => String(row["QUERY PLAN"]));
  console.log(`\n${name}: ${text}\n  ${firstPartOnly(lines).join("\n  ")}`);
}

async function timed(calls: number, work: () => Promise<unknown>): Promise<string> {
  const times: number[] = [];
  for (let call = 0; call < Math.max(5, calls); call += 1) {
    const startedAt = performance.now();
    await work();
    times.push(performance.now() - startedAt);
  }
  times.sort((one, another) => one - another);
  const at = (share: number) => (times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(2);
  return `${at(0.5)} / ${at(0.99)}`;
}

/** One part's lines say what those of all sixteen do, where all are looked into. */
function firstPartOnly(lines: readonly string[]): string[] {
  const shown: string[] = [];
  /** Where the first part's lines begin, and whether these are another's. */
  let depth = -1;
  let isOther = false;
  for (const line of lines) {
    const indent = line.search(/\S/);
    const isPart = line.trimStart().startsWith("->") && line.includes("_of_16");
    if (indent < depth) {
      isOther = false;
      depth = -1;
    }
    if (isPart && indent === depth) isOther = true;
    if (isPart && depth === -1) depth = indent;
    const isTarget = /^\s+(?:Update|Delete) on records_/.test(line);
    if (!isOther && !isTarget) shown.push(line);
  }
  return shown;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function hash(text: string): string {
  // As PostgreSQL's md5: names that are spread as ids are, and no more than that.
  return createHash("md5").update(text).digest("hex");
}
