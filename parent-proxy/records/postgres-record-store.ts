/**
 * Records in PostgreSQL 15 or later. Put-if-version is one call of one function (`postgres-schema.ts`), at READ COMMITTED
 * with rows locked; a commit is on the primary's disk before it is answered.
 */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import pg from "pg";
import type { Logger } from "pino";
import type { StoredRecord } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import { migrate } from "./postgres-schema.ts";
import type { ListQuery, RecordChange, RecordStore, WriteOutcome } from "./record-store.ts";
import { type Write, WriteQueue } from "./write-queue.ts";

export interface PostgresOptions {
  /** A name, or the folder of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** A file whose one line is the password; none for what the server lets in otherwise. */
  readonly passwordFile: string | null;
  /** `verify-full` checks chain and name; `none` is refused but for a loopback address or a unix socket. */
  readonly tls: { readonly kind: "verify-full"; readonly caFile: string | null } | { readonly kind: "none" };
  readonly maxConnections: number;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** Below the enclave's own deadline for a call, so that it hears of the failure. */
const STATEMENT_TIMEOUT_MS = 4_000;
const MAX_ATTEMPTS = 5;
/** Sorts after every character that a record's name may have. */
const AFTER_EVERY_NAME = "\u{7f}";

/** Undone as a whole, for want of luck: https://www.postgresql.org/docs/15/errcodes-appendix.html, class 40. */
const ROLLED_BACK: ReadonlySet<string> = new Set(["40001", "40P01"]);

interface Row {
  readonly name: string;
  /** bigint comes as text. */
  readonly version: string;
  readonly value: Buffer<ArrayBuffer>;
  readonly expires_at: string | null;
}

/**
 * Connects, and makes or migrates the schema.
 *
 * @throws {@link StartError} `CONFIG_INVALID`, `RECORDS_UNUSABLE`, `RECORDS_SCHEMA_UNKNOWN`
 */
export async function openPostgresRecordStore(options: PostgresOptions, log: Logger): Promise<RecordStore> {
  const pool = new pg.Pool(await poolConfig(options));
  // Of a connection that lay idle: the next query takes another.
  pool.on("error", (error) => log.warn({ err: error }, "a connection to PostgreSQL was lost"));
  try {
    await migrateBy(await poolConfig(options));
    return new PostgresRecordStore(pool, options.maxConnections);
  } catch (cause) {
    await pool.end();
    if (cause instanceof StartError) throw cause;
    const { message } = cause as Error;
    throw new StartError("RECORDS_UNUSABLE", `PostgreSQL at ${options.host}:${options.port}: ${message}`, { cause });
  }
}

/** By a connection of its own, since a migration may take longer than any call. */
async function migrateBy(config: pg.PoolConfig): Promise<void> {
  const { query_timeout: _ofCalls, ...withoutDeadline } = config;
  const pool = new pg.Pool({ ...withoutDeadline, max: 1 });
  pool.on("error", () => {});
  try {
    const client = await pool.connect();
    try {
      await migrate(client);
    } finally {
      client.release();
    }
  } finally {
    await pool.end();
  }
}

async function poolConfig(options: PostgresOptions): Promise<pg.PoolConfig> {
  const { host, port, database, user, tls, passwordFile, maxConnections } = options;
  if (tls.kind === "none" && !isLocal(host)) {
    throw new StartError("CONFIG_INVALID", `PostgreSQL at ${host} without TLS: only a loopback address may do without`);
  }
  try {
    const ca = tls.kind === "verify-full" && tls.caFile !== null ? await readFile(tls.caFile, "utf8") : undefined;
    return {
      ...{ host, port, database, user },
      // Empty rather than left out: pg would look into the environment and the home folder.
      password: passwordFile === null ? "" : (await readFile(passwordFile, "utf8")).trimEnd(),
      // `host` is the name that the certificate must have.
      ssl: tls.kind === "none" ? false : { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) },
      max: maxConnections,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      // A server that went away without a word must not hold a call for longer than one that answers slowly.
      query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
      keepAlive: true,
      application_name: "cloister",
      verify: (client, done) => void checkServer(client).then(() => done(), done),
    };
  } catch (cause) {
    throw new StartError("CONFIG_INVALID", `PostgreSQL: ${(cause as Error).message}`, { cause });
  }
}

function isLocal(host: string): boolean {
  return host.startsWith("/") || (isIP(host) !== 0 && (host === "::1" || host.startsWith("127.")));
}

/** Of every new connection: after a failover the same name may lead to a server that lags behind, or forgets. */
async function checkServer(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query(
    "SELECT pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync, " +
      "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' " +
      "ELSE current_setting('synchronous_commit') END, false)",
  );
  if (rows[0].standby === true) throw new Error("it is a standby: records are read and written at the primary");
  if (rows[0].fsync !== "on") throw new Error("fsync is off: what it says was written would not survive");
}

class PostgresRecordStore implements RecordStore {
  readonly #pool: pg.Pool;
  /** Calls under way: the pool by itself forgets those that wait for a connection when it is ended. */
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #writes: WriteQueue;
  #closing: Promise<void> | undefined;

  constructor(pool: pg.Pool, maxConnections: number) {
    this.#pool = pool;
    this.#writes = new WriteQueue({
      maxUnderWay: maxConnections,
      commit: (writes) => this.#commit(writes),
      leftNothing: isSaidByServer,
    });
  }

  async get(name: string): Promise<StoredRecord | null> {
    const text = "SELECT name, version, value, expires_at FROM cloister.records WHERE name = $1";
    const [row] = await this.#read({ name: "get", text, values: [name] });
    return row === undefined ? null : asRecord(row);
  }

  async list({ prefix, after, limit }: ListQuery): Promise<readonly StoredRecord[]> {
    const text =
      "SELECT name, version, value, expires_at FROM cloister.records " +
      "WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4";
    const values = [prefix, prefix + AFTER_EVERY_NAME, after ?? "", limit];
    return (await this.#read({ name: "list", text, values })).map(asRecord);
  }

  async write(changes: readonly RecordChange[]): Promise<WriteOutcome> {
    if (this.#closing !== undefined) throw closed();
    return await this.#whileOpen(this.#writes.write(changes));
  }

  async #commit(writes: readonly Write[]): Promise<readonly WriteOutcome[]> {
    const changes = writes.flat();
    const [only, ...others] = writes;
    const values = [
      changes.map(({ name }) => name),
      changes.map(({ expectedVersion }) => expectedVersion),
      changes.map(({ version }) => version),
      changes.map(({ value }) => (value === null ? null : Buffer.from(value.buffer, value.byteOffset, value.length))),
      changes.map(({ expiresAtMs }) => expiresAtMs ?? null),
    ];
    const query =
      only !== undefined && others.length === 0
        ? { name: "write", text: "SELECT ARRAY[cloister.write($1, $2, $3, $4, $5)] AS conflicts", values }
        : {
            name: "write-each",
            text: "SELECT cloister.write_each($1, $2, $3, $4, $5, $6) AS conflicts",
            values: [writes.map((write) => write.length), ...values],
          };
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { rows } = await this.#pool.query<{ readonly conflicts: readonly (string | null)[] }>(query);
        const conflicts = rows[0]?.conflicts ?? [];
        return conflicts.map((name) => (name === null ? { kind: "written" } : { kind: "conflict", name }));
      } catch (error) {
        // Nothing else may be tried again: of a write whose answer was lost nobody knows whether it was made.
        if (!ROLLED_BACK.has((error as { code?: string }).code ?? "") || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  async removeExpired(beforeMs: number, limit: number): Promise<number> {
    // Rows that another parent is at are left to it. ARRAY: a join would read every record there is.
    const text =
      "DELETE FROM cloister.records WHERE name = ANY (ARRAY" +
      "(SELECT name FROM cloister.records WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
    return (await this.#run({ name: "remove-expired", text, values: [beforeMs, limit] })).rowCount ?? 0;
  }

  close(): Promise<void> {
    this.#closing ??= Promise.allSettled(this.#underWay).then(() => this.#pool.end());
    return this.#closing;
  }

  /** Tried once more on another connection: the first may have died while it lay idle. */
  async #read(query: pg.QueryConfig): Promise<readonly Row[]> {
    try {
      return (await this.#run<Row>(query)).rows;
    } catch (error) {
      if (!isConnectionLost(error)) throw error;
      return (await this.#run<Row>(query)).rows;
    }
  }

  async #run<Result extends pg.QueryResultRow>(query: pg.QueryConfig): Promise<pg.QueryResult<Result>> {
    if (this.#closing !== undefined) throw closed();
    return await this.#whileOpen(this.#pool.query<Result>(query));
  }

  /** Closing waits for it. */
  async #whileOpen<Result>(running: Promise<Result>): Promise<Result> {
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }
}

function closed(): Error {
  return new Error("the records store is closed");
}

/** An error by which a server that goes on says that it has undone all of it. */
function isSaidByServer(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test((error as { code?: string }).code ?? "") && !isConnectionLost(error);
}

/** Class 08, a server that is shut down (57P01 to 57P03), or no word from the server at all. */
function isConnectionLost(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return code === undefined || /^(?:08|57P0[123]|E[A-Z]+$)/.test(code);
}

function asRecord({ name, version, value, expires_at }: Row): StoredRecord {
  const expiry = expires_at === null ? {} : { expiresAtMs: Number(expires_at) };
  return { name, version: Number(version), value: new Uint8Array(value), ...expiry };
}
