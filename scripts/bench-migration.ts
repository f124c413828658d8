/**
 * How long a new parent takes to migrate a database of the version before, and how long parents of that version wait meanwhile:
 * npm run bench-migration -- --records 1000000
 */
import { parseArgs } from "node:util";
import pg from "pg";
import { pino } from "pino";
import { openPostgresRecordStore } from "../parent-proxy/records/postgres-record-store.ts";
import { startLocalPostgres } from "../simulator/local-postgres.ts";
import { SCHEMA_1 } from "../test/support/postgres-schema-1.ts";

const { values } = parseArgs({ options: { records: { type: "string", default: "100000,1000000" } } });
/** As many bytes as a wallet's record has, under names as long as a wallet's. */
const FILL = `
  INSERT INTO cloister.records
  SELECT 'wallet/app_' || md5('a') || '/usr_' || md5((i / 10)::text) || '/wal_' || md5('w' || i), 1,
         decode(repeat('ab', 400), 'hex')
  FROM generate_series(1, $1::int) i`;

console.log("| records | migrated within | a parent of the version before waited for one read |");
console.log("|---|---|---|");
for (const records of values.records.split(",").map(Number)) {
  const undo: (() => Promise<void>)[] = [];
  try {
    const settings = { shared_buffers: "256MB", max_wal_size: "4GB" };
    const server = await startLocalPostgres(settings, (each) => void undo.push(each));
    const before = new pg.Client(server.admin);
    await before.connect();
    undo.push(() => before.end());
    await before.query(SCHEMA_1);
    await before.query(FILL, [records]);
    await before.query("VACUUM ANALYZE cloister.records");
    let isOver = false;
    let longestMs = 0;
    const reading = (async () => {
      while (!isOver) {
        const askedAt = performance.now();
        await before.query("SELECT version FROM cloister.records WHERE name = 'n'");
        longestMs = Math.max(longestMs, performance.now() - askedAt);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    const startedAt = performance.now();
    const options = { ...server.admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 4 } as const;
    const store = await openPostgresRecordStore(options, pino({ level: "silent" }));
    const tookMs = performance.now() - startedAt;
    undo.push(() => store.close());
    isOver = true;
    await reading;
    console.log(`| ${records} | ${(tookMs / 1000).toFixed(1)} s | ${(longestMs / 1000).toFixed(1)} s |`);
  } finally {
    for (const each of undo.toReversed()) await each();
  }
}
