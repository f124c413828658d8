/** Records in one SQLite file (https://sqlite.org/wal.html). One process at a time writes; backups may read. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { StoredRecord } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import type { ListQuery, RecordChange, RecordStore, WriteOutcome } from "./record-store.ts";

/** `PRAGMA user_version`. A file of a later program is refused, never guessed at. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE records (
    name    TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    value   BLOB NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE records ADD COLUMN expires_at INTEGER;
  CREATE INDEX records_expiring ON records (expires_at) WHERE expires_at IS NOT NULL;
  `,
];
/** Sorts after every character that a record's name may have. */
const AFTER_EVERY_NAME = "\u{7f}";

interface WaitingWrite {
  readonly changes: readonly RecordChange[];
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Opens the file, or makes it.
 *
 * @throws {@link StartError} `RECORDS_UNUSABLE`, `RECORDS_SCHEMA_UNKNOWN`
 */
export function openSqliteRecordStore(file: string): RecordStore {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { timeout: 1_000 });
    // FULL: a commit is on disk before it is answered. The vault's rollback checks rest on that.
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    createSchema(database);
    return new SqliteRecordStore(database);
  } catch (cause) {
    database?.close();
    if (cause instanceof StartError) throw cause;
    throw new StartError("RECORDS_UNUSABLE", `cannot open the records file ${file}: ${whyNot(cause)}`, { cause });
  }
}

/** SQLite's own words, and a question where they leave one to look for the reason (sqlite3.h: SQLITE_…). */
function whyNot(cause: unknown): string {
  const { message, errcode } = cause as Error & { readonly errcode?: number };
  switch ((errcode ?? 0) & 0xff) {
    case 14:
      return `${message}; is its folder there, and may this user write there?`;
    case 10:
    case 13:
      return `${message}; is the disk full?`;
    default:
      return message;
  }
}

function createSchema(database: DatabaseSync): void {
  database.exec("BEGIN IMMEDIATE");
  const found = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
  for (const migration of MIGRATIONS.slice(found)) database.exec(migration);
  if (found < MIGRATIONS.length) database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
  database.exec("COMMIT");
  if (found > MIGRATIONS.length) {
    throw new StartError("RECORDS_SCHEMA_UNKNOWN", `records of schema ${found}, expected ${MIGRATIONS.length}`);
  }
}

class SqliteRecordStore implements RecordStore {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: StatementSync;
  readonly #removeExpired: StatementSync;
  #waiting: WaitingWrite[] = [];
  #closed = false;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#get = database.prepare("SELECT name, version, value, expires_at FROM records WHERE name = ?");
    this.#insert = database.prepare(
      "INSERT INTO records (name, version, value, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#update = database.prepare(
      "UPDATE records SET version = ?, value = ?, expires_at = ? WHERE name = ? AND version = ?",
    );
    this.#delete = database.prepare("DELETE FROM records WHERE name = ? AND version = ?");
    // BINARY, the default collation, compares bytes.
    this.#list = database.prepare(
      "SELECT name, version, value, expires_at FROM records " +
        "WHERE name >= ? AND name < ? AND name > ? ORDER BY name LIMIT ?",
    );
    this.#removeExpired = database.prepare(
      "DELETE FROM records WHERE name IN (SELECT name FROM records WHERE expires_at < ? LIMIT ?)",
    );
  }

  async get(name: string): Promise<StoredRecord | null> {
    const row = this.#get.get(name);
    return row === undefined ? null : asRecord(row);
  }

  async list({ prefix, after, limit }: ListQuery): Promise<readonly StoredRecord[]> {
    return this.#list.all(prefix, prefix + AFTER_EVERY_NAME, after ?? "", limit).map(asRecord);
  }

  /** Writes of one turn of the event loop share a transaction: a commit costs more than what it commits. */
  write(changes: readonly RecordChange[]): Promise<WriteOutcome> {
    if (this.#closed) return Promise.reject(new Error("the records store is closed"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#commitWaiting());
    });
  }

  async removeExpired(beforeMs: number, limit: number): Promise<number> {
    if (this.#closed) throw new Error("the records store is closed");
    return Number(this.#removeExpired.run(beforeMs, limit).changes);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#commitWaiting();
    this.#database.close();
  }

  #commitWaiting(): void {
    const writes = this.#waiting;
    this.#waiting = [];
    if (writes.length === 0) return;
    let outcomes: WriteOutcome[];
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      outcomes = writes.map(({ changes }) => this.#apply(changes));
      this.#database.exec("COMMIT");
    } catch (error) {
      // SQLite has rolled back by itself after some errors (a full disk), and then has nothing to roll back.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      for (const { reject } of writes) reject(error as Error);
      return;
    }
    for (const [at, { resolve }] of writes.entries()) resolve(outcomes[at] as WriteOutcome);
  }

  /** One write inside the shared transaction, undone as a whole when it conflicts. */
  #apply(changes: readonly RecordChange[]): WriteOutcome {
    this.#database.exec("SAVEPOINT one_write");
    const conflict = changes.find((change) => !this.#applyOne(change));
    if (conflict !== undefined) this.#database.exec("ROLLBACK TO one_write");
    this.#database.exec("RELEASE one_write");
    return conflict === undefined ? { kind: "written" } : { kind: "conflict", name: conflict.name };
  }

  /** @returns Whether the record stood at its expected version. */
  #applyOne({ name, expectedVersion, version, value, expiresAtMs }: RecordChange): boolean {
    if (value === null) {
      if (expectedVersion === 0) return this.#get.get(name) === undefined;
      return this.#delete.run(name, expectedVersion).changes === 1;
    }
    if (expectedVersion === 0) return this.#insert.run(name, version, value, expiresAtMs ?? null).changes === 1;
    return this.#update.run(version, value, expiresAtMs ?? null, name, expectedVersion).changes === 1;
  }
}

function asRecord(row: Record<string, unknown>): StoredRecord {
  return {
    name: row["name"] as string,
    version: row["version"] as number,
    value: row["value"] as Uint8Array<ArrayBuffer>,
    ...(row["expires_at"] === null ? {} : { expiresAtMs: row["expires_at"] as number }),
  };
}
