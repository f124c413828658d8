import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { RecordChange, RecordStore } from "../../parent-proxy/index.ts";
import { openPostgresRecordStore, type PostgresOptions } from "../../parent-proxy/records/postgres-record-store.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";
import { SCHEMA_1 } from "../support/postgres-schema-1.ts";
import { isPostgresAbsent, type PostgresServer, startPostgres } from "../support/postgres-server.ts";
import { recordedLog, temporaryFolder } from "./fixture.ts";
import { describeRecordStore } from "./record-store-conformance.ts";

function optionsFor({ admin }: PostgresServer): PostgresOptions {
  return { ...admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 4 };
}

async function openStore(options: PostgresOptions): Promise<RecordStore> {
  const store = await openPostgresRecordStore(options, recordedLog().log);
  onTestFinished(() => store.close());
  return store;
}

async function query(server: PostgresServer, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client(server.admin);
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

const create = (name: string): RecordChange => ({ name, expectedVersion: 0, version: 1, value: Uint8Array.of(1) });

describe.skipIf(isPostgresAbsent)("on PostgreSQL", () => {
  const undo: (() => Promise<void>)[] = [];
  let shared: PostgresServer;
  let databases = 0;
  beforeAll(async () => {
    shared = await startPostgres({}, (each) => void undo.push(each));
  });
  afterAll(async () => {
    for (const each of undo.toReversed()) await each();
  });

  describeRecordStore("the PostgreSQL store", async () => {
    databases += 1;
    await query(shared, `CREATE DATABASE d${databases}`);
    return openStore({ ...optionsFor(shared), database: `d${databases}` });
  });

  test("a killed server comes back to every write that was answered, and the store to the server", async () => {
    const server = await startPostgres();
    const store = await openStore(optionsFor(server));
    let answered = 0;
    const writing = (async () => {
      for (; answered < 10_000; answered += 1) await store.write([create(`n/${answered}`)]);
    })();
    while (answered < 50) await new Promise((resolve) => setTimeout(resolve, 5));
    // Before the kill: it may fail while that is waited for.
    const failing = expect(writing).rejects.toThrow();
    await server.kill();
    await failing;
    await expect(store.get("n/0")).rejects.toThrow();
    await server.start();
    for (let at = 0; at < answered; at += 1) expect(await store.get(`n/${at}`)).toMatchObject({ version: 1 });
    expect(await store.write([create("after")])).toEqual({ kind: "written" });
  });

  test("writes that create the same records in opposite orders end, each as a whole", async () => {
    const store = await openStore(optionsFor(await startPostgres({ deadlock_timeout: "10ms" })));
    for (let round = 0; round < 20; round += 1) {
      const names = Array.from({ length: 20 }, (_, at) => `${round}/${at}`);
      const outcomes = await Promise.all([
        store.write(names.map(create)),
        store.write(names.toReversed().map(create)),
        store.write(names.map(create)),
      ]);
      expect(outcomes.filter(({ kind }) => kind === "written")).toHaveLength(1);
    }
  });

  test("a write that waits too long for another's lock fails in time for the enclave to hear of it, and the next goes through", async () => {
    const server = await startPostgres();
    const store = await openStore(optionsFor(server));
    await store.write([create("a")]);
    const holder = new pg.Client(server.admin);
    await holder.connect();
    onTestFinished(() => holder.end());
    await holder.query("BEGIN; SELECT 1 FROM cloister.records WHERE name = 'a' FOR UPDATE");
    const change = { name: "a", expectedVersion: 1, version: 2, value: Uint8Array.of(2) };
    await expect(store.write([change])).rejects.toMatchObject({ code: "57014" });
    expect(await store.get("a")).toMatchObject({ version: 1 });
    await holder.query("ROLLBACK");
    expect(await store.write([change])).toEqual({ kind: "written" });
  });

  test("a write that the server refuses takes none of those along that were sent with it", async () => {
    const server = await startPostgres();
    const store = await openStore(optionsFor(server));
    await query(server, "ALTER TABLE cloister.records ADD CHECK (name <> 'bad')");
    const names = Array.from({ length: 60 }, (_, at) => (at === 37 ? "bad" : `good/${at}`));
    const outcomes = await Promise.allSettled(names.map((name) => store.write([create(`with/${name}`), create(name)])));
    expect(outcomes.flatMap((each, at) => (each.status === "rejected" ? [[at, each.reason.code]] : []))).toEqual([
      [37, "23514"],
    ]);
    expect(await store.get("with/bad")).toBeNull();
    expect(await store.get("with/good/59")).toMatchObject({ version: 1 });
  });

  test("of writes sent together to a server that is killed, each that was answered is there, and each is whole", async () => {
    const server = await startPostgres();
    const store = await openStore(optionsFor(server));
    const answered: string[] = [];
    const write = async (name: string) => {
      await store.write([create(`left/${name}`), create(`right/${name}`)]);
      answered.push(name);
    };
    const writing = Array.from({ length: 40 }, async (_, writer) => {
      for (let at = 0; at < 10_000; at += 1) await write(`${writer}/${at}`);
    });
    const failing = Promise.allSettled(writing);
    while (answered.length < 200) await new Promise((resolve) => setTimeout(resolve, 5));
    await server.kill();
    expect((await failing).every(({ status }) => status === "rejected")).toBe(true);
    await server.start();
    const { rows } = await query(server, "SELECT name FROM cloister.records");
    const kept = new Set(rows.map(({ name }) => name));
    expect(answered.filter((name) => !kept.has(`left/${name}`))).toEqual([]);
    const sides = (side: string) => [...kept].filter((name) => name.startsWith(side)).map((name) => name.split("/", 3));
    expect(sides("left").length).toBe(sides("right").length);
    for (const [, ...rest] of sides("left")) expect(kept.has(["right", ...rest].join("/"))).toBe(true);
  });

  test("two parents that start at once on an empty database make one schema", async () => {
    const options = optionsFor(await startPostgres());
    const [one, another] = await Promise.all([openStore(options), openStore(options)]);
    expect(await one.write([create("a")])).toEqual({ kind: "written" });
    expect(await another.write([create("a")])).toEqual({ kind: "conflict", name: "a" });
  });

  test("a role with no more than docs/run-the-parent.md gives it serves, by password over loopback, and drops nothing", async () => {
    const server = await startPostgres();
    await (await openStore(optionsFor(server))).close();
    await query(
      server,
      `CREATE ROLE cloister LOGIN PASSWORD 'of-the-parent';
       GRANT USAGE ON SCHEMA cloister TO cloister;
       GRANT SELECT ON cloister.schema_version TO cloister;
       GRANT SELECT, INSERT, UPDATE, DELETE ON cloister.records TO cloister;`,
    );
    const passwordFile = join(await temporaryFolder(), "password");
    await writeFile(passwordFile, "of-the-parent\n");
    const options = { ...optionsFor(server), host: "127.0.0.1", user: "cloister", passwordFile };
    const store = await openStore(options);
    expect(await store.write([create("a")])).toEqual({ kind: "written" });
    expect(await store.list({ prefix: "", after: null, limit: 5 })).toHaveLength(1);
    // More than there are connections: several in one transaction.
    const together = Array.from({ length: 100 }, (_, at) => store.write([create(`b/${at}`)]));
    expect((await Promise.all(together)).every(({ kind }) => kind === "written")).toBe(true);
    const client = new pg.Client({ ...server.admin, host: "127.0.0.1", user: "cloister", password: "of-the-parent" });
    await client.connect();
    onTestFinished(() => client.end());
    await expect(client.query("DROP TABLE cloister.records")).rejects.toThrow("must be owner");
    // A schema of the version before is for a role that may change it.
    await query(server, "UPDATE cloister.schema_version SET version = version - 1");
    await expect(openStore(options)).rejects.toMatchObject({ code: "RECORDS_UNUSABLE" });
    await query(server, "UPDATE cloister.schema_version SET version = version + 1");
    await writeFile(passwordFile, "another\n");
    await expect(openStore(options)).rejects.toMatchObject({ code: "RECORDS_UNUSABLE" });
  });

  test("where PUBLIC may execute nothing, a role writes with the grants that docs/run-the-parent.md names, and not without them", async () => {
    const server = await startPostgres();
    await (await openStore(optionsFor(server))).close();
    await query(
      server,
      `CREATE ROLE cloister LOGIN;
       GRANT USAGE ON SCHEMA cloister TO cloister;
       GRANT SELECT ON cloister.schema_version TO cloister;
       GRANT SELECT, INSERT, UPDATE, DELETE ON cloister.records TO cloister;
       REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cloister FROM PUBLIC;`,
    );
    const page = await readFile("docs/run-the-parent.md", "utf8");
    const grants = page.match(/GRANT EXECUTE ON FUNCTION [^;]+;/g) ?? [];
    expect(grants).toHaveLength(2);
    const store = await openStore({ ...optionsFor(server), user: "cloister" });
    const denied = { code: "42501" };
    await expect(store.write([create("a")])).rejects.toMatchObject(denied);
    const [toWrite, toWriteEach] = grants as [string, string];
    await query(server, toWrite);
    expect(await store.write([create("a")])).toEqual({ kind: "written" });
    const many = (prefix: string) =>
      Promise.allSettled(Array.from({ length: 100 }, (_, at) => store.write([create(`${prefix}/${at}`)])));
    // Several that go together are one call of the other function, which is refused: each is then tried by itself.
    expect((await many("b")).every(({ status }) => status === "fulfilled")).toBe(true);
    await query(
      server,
      "REVOKE EXECUTE ON FUNCTION cloister.write(text[], bigint[], bigint[], bytea[], bigint[]) FROM cloister",
    );
    await query(server, toWriteEach);
    for (const each of await many("c")) expect(each).toMatchObject({ status: "rejected", reason: denied });
    await query(server, toWrite);
    expect((await many("c")).every(({ status }) => status === "fulfilled")).toBe(true);
    expect(await store.list({ prefix: "c/", after: "c/98", limit: 5 })).toHaveLength(1);
  });

  test("takes a database of the version before: its records, who may work with them, and parents of that version", async () => {
    const server = await startPostgres();
    await query(server, SCHEMA_1);
    await query(server, "INSERT INTO cloister.records SELECT 'n/' || i, 7, 'x' FROM generate_series(1, 1000) i");
    await query(
      server,
      `CREATE ROLE cloister LOGIN; GRANT USAGE ON SCHEMA cloister TO cloister;
       GRANT SELECT ON cloister.schema_version TO cloister;
       GRANT SELECT, INSERT, UPDATE, DELETE ON cloister.records TO cloister;`,
    );
    const [one, another] = await Promise.all([openStore(optionsFor(server)), openStore(optionsFor(server))]);
    expect(await one.get("n/1000")).toMatchObject({ version: 7 });
    expect(await another.list({ prefix: "n/", after: "n/99", limit: 15 })).toHaveLength(10);
    const { rows } = await query(server, "SELECT count(DISTINCT tableoid)::int AS parts FROM cloister.records");
    expect(rows[0].parts).toBe(16);
    const store = await openStore({ ...optionsFor(server), user: "cloister" });
    expect(await store.write([{ name: "n/1", expectedVersion: 7, version: 8, value: null }])).toEqual({
      kind: "written",
    });
    const asBefore =
      "SELECT cloister.write(ARRAY['n/2'], ARRAY[7]::bigint[], ARRAY[8]::bigint[], ARRAY['y']::bytea[]) AS conflict";
    expect((await query(server, asBefore)).rows).toEqual([{ conflict: null }]);
    expect((await query(server, asBefore)).rows).toEqual([{ conflict: "n/2" }]);
    expect(await store.get("n/2")).toMatchObject({ version: 8 });
  });

  test("refuses a server that would forget what it said was written", async () => {
    await expect(openStore(optionsFor(await startPostgres({ fsync: "off" })))).rejects.toMatchObject({
      code: "RECORDS_UNUSABLE",
      message: expect.stringContaining("fsync is off"),
    });
  });

  test("refuses a schema of a later program", async () => {
    const server = await startPostgres();
    await (await openStore(optionsFor(server))).close();
    await query(server, "UPDATE cloister.schema_version SET version = 99");
    await expect(openStore(optionsFor(server))).rejects.toMatchObject({ code: "RECORDS_SCHEMA_UNKNOWN" });
  });

  test("checks the server's certificate: its authority, and that its name is the one connected to", async () => {
    const authority = createTlsAuthority({ nowMs: Date.now, name: "of this test" });
    const serve = async (host: string) => {
      const { keyPem, certPem } = authority.issueServer({ hosts: [host] });
      return startPostgres({ ssl: "on" }, onTestFinished, { "server.key": keyPem, "server.crt": certPem });
    };
    const folder = await temporaryFolder();
    const [caFile, otherCaFile, passwordFile] = ["ca", "other", "password"].map((name) => join(folder, name));
    await writeFile(caFile ?? "", authority.rootPem);
    await writeFile(otherCaFile ?? "", createTlsAuthority({ nowMs: Date.now, name: "another" }).rootPem);
    await writeFile(passwordFile ?? "", "secret");
    const connectTo = async (server: PostgresServer, ca: string | undefined) => {
      await query(server, "ALTER ROLE admin PASSWORD 'secret'");
      const tls = { kind: "verify-full", caFile: ca ?? null } as const;
      return openStore({ ...optionsFor(server), host: "localhost", passwordFile: passwordFile ?? null, tls });
    };
    const right = await serve("localhost");
    expect(await (await connectTo(right, caFile)).get("a")).toBeNull();
    await expect(connectTo(right, otherCaFile)).rejects.toMatchObject({ code: "RECORDS_UNUSABLE" });
    await expect(connectTo(right, undefined)).rejects.toMatchObject({ code: "RECORDS_UNUSABLE" });
    await expect(connectTo(await serve("db.example.com"), caFile)).rejects.toMatchObject({ code: "RECORDS_UNUSABLE" });
  });

  test("demands TLS of a server that offers none", async () => {
    const options = { ...optionsFor(await startPostgres()), host: "127.0.0.1" };
    await expect(openStore({ ...options, tls: { kind: "verify-full", caFile: null } })).rejects.toMatchObject({
      code: "RECORDS_UNUSABLE",
      message: expect.stringContaining("SSL"),
    });
  });
});

test("goes without TLS to no host but this one, and says so before it connects", async () => {
  for (const host of ["db.example.com", "10.0.0.1", "localhost"]) {
    const options = { host, port: 5432, database: "d", user: "u", passwordFile: null, maxConnections: 1 };
    await expect(openStore({ ...options, tls: { kind: "none" } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  }
});
