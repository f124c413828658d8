import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test } from "vitest";
import { openSqliteRecordStore } from "../../parent-proxy/records/sqlite-record-store.ts";
import { recordsClient, startParent, temporaryFolder } from "./fixture.ts";
import { describeRecordStore } from "./record-store-conformance.ts";

async function openStore(file?: string) {
  const store = openSqliteRecordStore(file ?? join(await temporaryFolder(), "records.db"));
  onTestFinished(() => store.close());
  return store;
}

describeRecordStore("the SQLite store", () => openStore());

test("keeps records over a restart", async () => {
  const file = join(await temporaryFolder(), "records.db");
  const first = await openStore(file);
  await first.write([{ name: "a", expectedVersion: 0, version: 3, value: Uint8Array.of(1, 2) }]);
  await first.close();
  const again = await openStore(file);
  expect(await again.get("a")).toEqual({ name: "a", version: 3, value: Uint8Array.of(1, 2) });
});

test("commits in full and in WAL, with its schema's version in the file", async () => {
  const file = join(await temporaryFolder(), "records.db");
  await openStore(file);
  const beside = new DatabaseSync(file);
  expect(beside.prepare("PRAGMA journal_mode").get()).toMatchObject({ journal_mode: "wal" });
  expect(beside.prepare("PRAGMA user_version").get()).toMatchObject({ user_version: 2 });
  beside.close();
});

test("refuses a file of a later schema and leaves it as it is", async () => {
  const file = join(await temporaryFolder(), "records.db");
  const later = new DatabaseSync(file);
  later.exec("PRAGMA user_version = 3");
  later.close();
  expect(() => openSqliteRecordStore(file)).toThrow(expect.objectContaining({ code: "RECORDS_SCHEMA_UNKNOWN" }));
  const after = new DatabaseSync(file);
  expect(after.prepare("SELECT count(*) AS tables FROM sqlite_schema").get()).toMatchObject({ tables: 0 });
  after.close();
});

test("refuses a file that is no database, and a folder that is not there", async () => {
  const folder = await temporaryFolder();
  const file = join(folder, "records.db");
  await writeFile(file, "not a database, but long enough to be looked at".repeat(40));
  for (const [unusable, why] of [
    [file, "file is not a database"],
    [join(folder, "missing", "records.db"), "is its folder there"],
  ] as const) {
    expect(() => openSqliteRecordStore(unusable)).toThrow(
      expect.objectContaining({ code: "RECORDS_UNUSABLE", message: expect.stringContaining(why) }),
    );
  }
});

test("a commit that fails fails every write in it, and the store goes on", async () => {
  const file = join(await temporaryFolder(), "records.db");
  const store = await openStore(file);
  const beside = new DatabaseSync(file);
  beside.exec(
    "CREATE TRIGGER full BEFORE INSERT ON records WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END",
  );
  const create = (name: string) => store.write([{ name, expectedVersion: 0, version: 1, value: Uint8Array.of(1) }]);
  const outcomes = await Promise.allSettled([create("good"), create("bad"), create("fine")]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(await store.get("good")).toBeNull();
  expect(await create("good")).toEqual({ kind: "written" });
  beside.close();
});

/** Writes pairs of records in an endless stream and says which pairs were answered. */
const WRITER = `
  import { openSqliteRecordStore } from ${JSON.stringify(new URL("../../parent-proxy/records/sqlite-record-store.ts", import.meta.url).href)};
  const store = openSqliteRecordStore(process.argv[1]);
  const value = new Uint8Array(20_000).fill(5);
  for (let pair = 0; ; pair += 10) {
    await Promise.all(Array.from({ length: 10 }, async (_, at) => {
      const name = String(pair + at).padStart(6, "0");
      await store.write([
        { name: "left/" + name, expectedVersion: 0, version: 1, value },
        { name: "right/" + name, expectedVersion: 0, version: 1, value },
      ]);
      process.stdout.write(name + "\\n");
    }));
  }
`;

test("a process that is killed while it writes leaves whole writes, and every answered one", async () => {
  const file = join(await temporaryFolder(), "records.db");
  const writer = spawn(process.execPath, ["--input-type=module", "--eval", WRITER, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void writer.kill("SIGKILL"));
  const answered: string[] = [];
  for await (const name of createInterface(writer.stdout)) {
    answered.push(name);
    if (answered.length === 60) writer.kill("SIGKILL");
  }
  const store = await openStore(file);
  const names = async (side: string) => {
    const found: string[] = [];
    for (;;) {
      const page = await store.list({ prefix: side, after: found.at(-1) ?? null, limit: 15 });
      if (page.length === 0) return found.map((name) => name.slice(side.length));
      found.push(...page.map(({ name }) => name));
    }
  };
  const [left, right] = [await names("left/"), await names("right/")];
  expect(left).toEqual(right);
  expect(answered.filter((name) => !left.includes(name))).toEqual([]);
});

test("serves get, write and list to the enclave", async () => {
  const { guest } = await startParent();
  const records = recordsClient(guest);
  const value = Uint8Array.of(1, 2, 3);
  const write = { kind: "write", changes: [{ name: "w/1", expectedVersion: 0, version: 1, value }] } as const;
  expect(await records({ ...write, changes: [...write.changes] })).toEqual({ id: 1, kind: "written" });
  expect(await records({ ...write, changes: [...write.changes] })).toEqual({ id: 2, kind: "conflict", name: "w/1" });
  const record = { name: "w/1", version: 1, value };
  expect(await records({ kind: "get", name: "w/1" })).toEqual({ id: 3, kind: "record", record });
  expect(await records({ kind: "get", name: "w/2" })).toEqual({ id: 4, kind: "record", record: null });
  expect(await records({ kind: "list", prefix: "w/", after: null, limit: 15 })).toEqual({
    id: 5,
    kind: "records",
    records: [record],
  });
});

test("a page of the greatest records fits into a frame", async () => {
  const { guest } = await startParent();
  const records = recordsClient(guest);
  for (let at = 10; at < 25; at += 1) {
    const change = { name: `${"n".repeat(197)}/${at}`, expectedVersion: 0, version: 1, value: new Uint8Array(65_536) };
    await records({ kind: "write", changes: [change] });
  }
  const page = await records({ kind: "list", prefix: "n", after: null, limit: 15 });
  expect(page.kind === "records" && page.records.length).toBe(15);
});

test("answers failed, and logs why, when the store cannot be read", async () => {
  const { guest, folder, lines } = await startParent();
  const beside = new DatabaseSync(join(folder, "records.db"));
  beside.exec("DROP TABLE records");
  beside.close();
  expect(await recordsClient(guest)({ kind: "get", name: "a" })).toEqual({ id: 1, kind: "failed" });
  expect(lines).toMatchObject([{ msg: "the records store failed", call: "get" }]);
});

test("takes a file of the version before, with all that is in it", async () => {
  const file = join(await temporaryFolder(), "records.db");
  const before = new DatabaseSync(file);
  before.exec(
    "CREATE TABLE records (name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL) STRICT",
  );
  before.exec("INSERT INTO records VALUES ('a', 3, x'0102'); PRAGMA user_version = 1");
  before.close();
  const store = openSqliteRecordStore(file);
  expect(await store.get("a")).toEqual({ name: "a", version: 3, value: Uint8Array.of(1, 2) });
  const change = { name: "a", expectedVersion: 3, version: 4, value: Uint8Array.of(4), expiresAtMs: 9 };
  expect(await store.write([change])).toEqual({ kind: "written" });
  await store.close();
  expect(await openSqliteRecordStore(file).get("a")).toMatchObject({ version: 4, expiresAtMs: 9 });
});
