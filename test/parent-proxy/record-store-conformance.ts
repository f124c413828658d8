/** What every RecordStore promises, written against the interface: a PostgreSQL store runs the same tests. */
import { describe, expect, test } from "vitest";
import type { RecordChange, RecordStore } from "../../parent-proxy/index.ts";
import { MAX_RECORD_BYTES, MAX_RECORD_CHANGES } from "../../protocol/index.ts";

const value = (...bytes: number[]) => Uint8Array.from(bytes);
const create = (name: string, bytes = value(1)): RecordChange => ({
  name,
  expectedVersion: 0,
  version: 1,
  value: bytes,
});

export function describeRecordStore(name: string, open: () => Promise<RecordStore>): void {
  describe(name, () => {
    test("has nothing at first", async () => {
      const store = await open();
      expect(await store.get("a")).toBeNull();
      expect(await store.list({ prefix: "a", after: null, limit: 15 })).toEqual([]);
    });

    test("gives back what was written, empty and greatest values too", async () => {
      const store = await open();
      for (const bytes of [value(), value(0, 255), new Uint8Array(MAX_RECORD_BYTES).fill(9)]) {
        const record = `size/${bytes.length}`;
        expect(await store.write([create(record, bytes)])).toEqual({ kind: "written" });
        const found = await store.get(record);
        expect(found).toMatchObject({ name: record, version: 1 });
        expect(Buffer.compare(found?.value ?? value(), bytes)).toBe(0);
      }
    });

    test("replaces only at the expected version, and takes the new one as it is given", async () => {
      const store = await open();
      await store.write([create("a")]);
      const to7 = { name: "a", expectedVersion: 1, version: 7, value: value(7) };
      expect(await store.write([to7])).toEqual({ kind: "written" });
      expect(await store.write([to7])).toEqual({ kind: "conflict", name: "a" });
      expect(await store.get("a")).toMatchObject({ version: 7, value: value(7) });
    });

    test("expected version 0 means absent", async () => {
      const store = await open();
      expect(await store.write([create("a")])).toEqual({ kind: "written" });
      expect(await store.write([create("a", value(2))])).toEqual({ kind: "conflict", name: "a" });
      expect(await store.write([{ name: "b", expectedVersion: 1, version: 2, value: value(2) }])).toEqual({
        kind: "conflict",
        name: "b",
      });
      expect(await store.get("a")).toMatchObject({ version: 1, value: value(1) });
      expect(await store.get("b")).toBeNull();
    });

    test("deletes only at the expected version; afterwards the record is absent", async () => {
      const store = await open();
      await store.write([create("a")]);
      const remove = (expectedVersion: number) => [{ name: "a", expectedVersion, version: 9, value: null }];
      expect(await store.write(remove(2))).toEqual({ kind: "conflict", name: "a" });
      expect(await store.write(remove(0))).toEqual({ kind: "conflict", name: "a" });
      expect(await store.write(remove(1))).toEqual({ kind: "written" });
      expect(await store.get("a")).toBeNull();
      expect(await store.write(remove(1))).toEqual({ kind: "conflict", name: "a" });
      expect(await store.write(remove(0))).toEqual({ kind: "written" });
      expect(await store.write([create("a")])).toEqual({ kind: "written" });
    });

    test("makes all changes of a write or none, and names the first that conflicts", async () => {
      const store = await open();
      await store.write([create("b"), create("c"), create("d")]);
      const outcome = await store.write([
        create("a"),
        { name: "b", expectedVersion: 1, version: 2, value: null },
        { name: "c", expectedVersion: 5, version: 6, value: value(6) },
        { name: "d", expectedVersion: 5, version: 6, value: value(6) },
      ]);
      expect(outcome).toEqual({ kind: "conflict", name: "c" });
      const left = await store.list({ prefix: "", after: null, limit: 15 });
      expect(left.map(({ name: record, version }) => [record, version])).toEqual([
        ["b", 1],
        ["c", 1],
        ["d", 1],
      ]);
    });

    test("a later change of one write sees an earlier one of the same name", async () => {
      const store = await open();
      expect(await store.write([create("a"), { name: "a", expectedVersion: 1, version: 2, value: value(2) }])).toEqual({
        kind: "written",
      });
      expect(await store.get("a")).toMatchObject({ version: 2 });
      expect(await store.write([create("b"), create("b")])).toEqual({ kind: "conflict", name: "b" });
      expect(await store.get("b")).toBeNull();
    });

    test("of writes at the same time on one version exactly one wins, and its neighbours are not harmed", async () => {
      const store = await open();
      await store.write([create("a")]);
      const rivals = Array.from({ length: 20 }, (_, at) =>
        store.write([
          { name: `own/${at}`, expectedVersion: 0, version: 1, value: value(at) },
          { name: "a", expectedVersion: 1, version: 2, value: value(at) },
        ]),
      );
      const neighbours = Array.from({ length: 20 }, (_, at) => store.write([create(`neighbour/${at}`)]));
      const outcomes = await Promise.all(rivals);
      const winner = outcomes.findIndex(({ kind }) => kind === "written");
      expect(outcomes.filter(({ kind }) => kind === "written")).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome.kind === "conflict" && outcome.name === "a")).toHaveLength(19);
      expect(await store.get("a")).toMatchObject({ version: 2, value: value(winner) });
      const own = await store.list({ prefix: "own/", after: null, limit: 15 });
      expect(own.map(({ name: record }) => record)).toEqual([`own/${winner}`]);
      expect((await Promise.all(neighbours)).every(({ kind }) => kind === "written")).toBe(true);
    });

    test("writes of the same names that are under way together follow one another, each whole or refused", async () => {
      const store = await open();
      const step = (at: number): RecordChange[] => [
        { name: "chain", expectedVersion: at, version: at + 1, value: value(at) },
        create(`link/${at}`),
      ];
      // Each is right after the one before it: no order makes a later one right where an earlier one was refused.
      const outcomes = await Promise.all(Array.from({ length: 40 }, (_, at) => store.write(step(at))));
      const made = outcomes.flatMap(({ kind }, at) => (kind === "written" ? [at] : []));
      expect(made).toEqual(made.map((_, at) => at));
      expect(await store.get("chain")).toMatchObject({ version: made.length });
      expect(await store.get(`link/${made.length}`)).toBeNull();
      expect(await store.get(`link/${made.length - 1}`)).not.toBeNull();
      const again = await Promise.all([store.write(step(made.length)), store.write([create("link/0"), create("new")])]);
      expect(again).toEqual([{ kind: "written" }, { kind: "conflict", name: "link/0" }]);
      expect(await store.get("new")).toBeNull();
    });

    test("a hundred writes at once, of which every third conflicts, each with its own outcome", async () => {
      const store = await open();
      await store.write([create("taken")]);
      const isBad = (at: number) => at % 3 === 0;
      const outcomes = await Promise.all(
        Array.from({ length: 100 }, (_, at) =>
          store.write([create(`n/${at}`), create(isBad(at) ? "taken" : `m/${at}`)]),
        ),
      );
      expect(outcomes).toEqual(
        outcomes.map((_, at) => (isBad(at) ? { kind: "conflict", name: "taken" } : { kind: "written" })),
      );
      for (const at of [0, 1, 50, 99]) expect((await store.get(`n/${at}`)) === null).toBe(isBad(at));
    });

    test("takes as many changes as the wire lets through", async () => {
      const store = await open();
      const changes = Array.from({ length: MAX_RECORD_CHANGES }, (_, at) => create(`n/${at}`));
      expect(await store.write(changes)).toEqual({ kind: "written" });
    });

    test("lists by prefix, in the order of bytes, in pages without gap or repetition", async () => {
      const store = await open();
      const names = ["a", "a-", "a/", "a/0", "a/_", "a/a", "a/b", "a/b/c", "a_", "aa", "b", "a/zz", "a/9"];
      for (const record of names) await store.write([create(record)]);
      const pages: string[][] = [];
      let after: string | null = null;
      for (;;) {
        const page = await store.list({ prefix: "a/", after, limit: 3 });
        if (page.length === 0) break;
        pages.push(page.map((record) => record.name));
        after = page.at(-1)?.name ?? null;
      }
      expect(pages).toEqual([
        ["a/", "a/0", "a/9"],
        ["a/_", "a/a", "a/b"],
        ["a/b/c", "a/zz"],
      ]);
      const whole = await store.list({ prefix: "a", after: null, limit: 15 });
      expect(whole.map((record) => record.name)).toEqual(
        names
          .filter((record) => record.startsWith("a"))
          .toSorted((one, two) => Buffer.compare(Buffer.from(one), Buffer.from(two))),
      );
    });

    test("`after` need not be a record, and one outside the prefix skips nothing or all", async () => {
      const store = await open();
      for (const record of ["m/1", "m/3"]) await store.write([create(record)]);
      const namesAfter = async (from: string) =>
        (await store.list({ prefix: "m/", after: from, limit: 15 })).map((record) => record.name);
      expect(await namesAfter("m/2")).toEqual(["m/3"]);
      expect(await namesAfter("a")).toEqual(["m/1", "m/3"]);
      expect(await namesAfter("z")).toEqual([]);
    });

    test("a read sees every write that was answered", async () => {
      const store = await open();
      for (let at = 0; at < 50; at += 1) {
        await store.write([{ name: "a", expectedVersion: at, version: at + 1, value: value(at) }]);
        expect(await store.get("a")).toMatchObject({ version: at + 1 });
      }
    });

    test("keeps when a record may go, also through writes that move it, and drops it then and not before", async () => {
      const store = await open();
      const passing = (name: string, expiresAtMs: number): RecordChange => ({ ...create(name), expiresAtMs });
      await store.write([passing("p/1", 1_000), passing("p/2", 2_000), passing("p/3", 1_000), create("p/4")]);
      expect(await store.get("p/1")).toMatchObject({ expiresAtMs: 1_000 });
      expect(await store.get("p/4")).not.toHaveProperty("expiresAtMs");
      const listed = await store.list({ prefix: "p/", after: null, limit: 15 });
      expect(listed.map(({ expiresAtMs }) => expiresAtMs)).toEqual([1_000, 2_000, 1_000, undefined]);
      const later = { name: "p/3", expectedVersion: 1, version: 2, value: value(2) };
      await store.write([{ ...later, expiresAtMs: 9_000 }]);
      expect(await store.removeExpired(1_000, 10)).toBe(0);
      expect(await store.removeExpired(1_001, 10)).toBe(1);
      expect(await store.get("p/1")).toBeNull();
      expect(await store.removeExpired(Number.MAX_SAFE_INTEGER, 1)).toBe(1);
      expect(await store.removeExpired(Number.MAX_SAFE_INTEGER, 10)).toBe(1);
      expect((await store.list({ prefix: "p/", after: null, limit: 15 })).map(({ name: left }) => left)).toEqual([
        "p/4",
      ]);
    });

    test("finishes writes under way when it is closed, and takes none afterwards", async () => {
      const store = await open();
      const late = Array.from({ length: 30 }, (_, at) => store.write([create(`a/${at}`)]));
      await store.close();
      expect((await Promise.all(late)).every(({ kind }) => kind === "written")).toBe(true);
      await expect(store.write([create("b")])).rejects.toThrow("closed");
      await store.close();
    });
  });
}
