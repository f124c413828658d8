/** Records against a parent that forgets, repeats, reorders and lies; that it changes bytes is record-cipher's test. */
import { describe, expect, test } from "vitest";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind, Records } from "../../../enclave/vault/records.ts";
import { MAX_RECORDS_PER_PAGE, type RecordsCall, type StoredRecord, z } from "../../../protocol/index.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const notes: RecordKind<{ text: string }> = { prefix: "note/", schema: z.strictObject({ text: z.string() }) };
const SECRET = new Uint8Array(32).fill(7);

function boot(parent: MemoryParent): Records {
  return new Records(new RecordStore(parent.vsock), new RecordCipher(SECRET, { deployment: "test", generation: 1 }));
}

/** Another enclave over the same store. */
const another = boot;

function start(): { parent: MemoryParent; records: Records } {
  const parent = new MemoryParent();
  return { parent, records: boot(parent) };
}

async function put(records: Records, name: string, text: string): Promise<boolean> {
  const read = await records.read(notes, name);
  return records.write([change(notes, name, read, { text })]);
}

async function remove(records: Records, name: string): Promise<boolean> {
  const read = await records.read(notes, name);
  return records.write([change(notes, name, read, undefined)]);
}

async function textOf(records: Records, name: string): Promise<string | undefined> {
  return (await records.read(notes, name))?.value.text;
}

/** @returns How many stand there. */
async function sealAnew(records: Records, given: readonly StoredRecord[]): Promise<number | null> {
  const sealed = await Promise.all(given.map((each) => records.sealAnew(each)));
  return records.replace(sealed.filter((each) => each !== null));
}

function stored(parent: MemoryParent, name: string): StoredRecord {
  const record = parent.records.get(notes.prefix + name);
  if (record === undefined) throw new Error("no such record");
  return record;
}

/** Holds back the first answer to a call of this kind; what was asked is done at once. */
function holdBack(parent: MemoryParent, kind: RecordsCall["kind"]): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  let held = false;
  parent.answer = async (call, act) => {
    const answer = act();
    if (call.kind === kind && !held) {
      held = true;
      await promise;
    }
    return answer;
  };
  return resolve;
}

const rolledBack = { code: "RECORD_ROLLED_BACK" };
const tampered = { code: "RECORD_TAMPERED" };
const unavailable = { code: "RECORDS_UNAVAILABLE" };

describe("an honest parent", () => {
  test("keeps what was written, version by version, also over a restart", async () => {
    const { parent, records } = start();
    expect(await records.read(notes, "a/1")).toBeNull();
    expect(await put(records, "a/1", "one")).toBe(true);
    expect(await put(records, "a/1", "two")).toBe(true);
    const expected = { name: "note/a/1", version: 2, value: { text: "two" } };
    expect(await records.read(notes, "a/1")).toMatchObject(expected);
    expect(await boot(parent).read(notes, "a/1")).toMatchObject(expected);
  });

  test("makes all changes of a write or none", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const read = await records.read(notes, "a/1");
    await put(records, "a/1", "two");
    const changes = [change(notes, "a/2", null, { text: "new" }), change(notes, "a/1", read, { text: "three" })];
    expect(await records.write(changes)).toBe(false);
    expect([...parent.records.keys()]).toEqual(["note/a/1"]);
    expect(await textOf(records, "a/1")).toBe("two");
  });

  test("gives lists in pages, each record once", async () => {
    const { records } = start();
    const names = Array.from({ length: 2 * MAX_RECORDS_PER_PAGE + 1 }, (_, at) => `a/${String(at).padStart(3, "0")}`);
    for (const name of names) await put(records, name, name);
    await put(records, "b/000", "another folder's");
    const listed: string[] = [];
    for (let after: string | null = null; ; after = listed.at(-1) ?? null) {
      const page = await records.list(notes, "a/", after);
      if (page.length === 0) break;
      listed.push(...page.map(({ value }) => value.text));
    }
    expect(listed).toEqual(names);
  });

  test("may answer a list without a record that is made meanwhile", async () => {
    const { parent, records } = start();
    const release = holdBack(parent, "list");
    const list = records.list(notes, "a/", null);
    await put(records, "a/2", "two");
    release();
    expect(await list).toEqual([]);
  });
});

describe("RECORD_ROLLED_BACK", () => {
  test("for an older version", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const older = stored(parent, "a/1");
    await put(records, "a/1", "two");
    parent.records.set(older.name, older);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    await expect(records.list(notes, "a/", null)).rejects.toMatchObject(rolledBack);
    // The limit of what Nitro can promise: the next boot has nothing to compare with.
    expect(await textOf(boot(parent), "a/1")).toBe("one");
  });

  test("for another record of the same version, that an earlier boot wrote", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const sibling = stored(parent, "a/1");
    parent.records.clear();
    const later = boot(parent);
    await put(later, "a/1", "another");
    parent.records.set(sibling.name, sibling);
    await expect(later.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    await expect(later.list(notes, "a/", null)).rejects.toMatchObject(rolledBack);
  });

  test("for a record that is withheld, alone or from a list", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    await put(records, "a/2", "two");
    parent.records.delete("note/a/1");
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    await expect(records.list(notes, "a/", null)).rejects.toMatchObject(rolledBack);
    // After it, the page is whole.
    expect(await records.list(notes, "a/", "a/1")).toHaveLength(1);
    // One that this boot has not seen cannot be missed.
    expect(await boot(parent).list(notes, "a/", null)).toHaveLength(1);
  });

  test("for a record that is withheld from the first of two pages", async () => {
    const { parent, records } = start();
    for (let at = 0; at < MAX_RECORDS_PER_PAGE + 2; at += 1) await put(records, `a/${at + 100}`, "x");
    parent.records.delete("note/a/103");
    await expect(records.list(notes, "a/", null)).rejects.toMatchObject(rolledBack);
    expect(await records.list(notes, "a/", "a/110")).toHaveLength(MAX_RECORDS_PER_PAGE + 2 - 11);
  });

  test("for any one of many that is withheld, from each page where it belongs, and from no other", async () => {
    const { parent, records } = start();
    const names = Array.from({ length: 3 * MAX_RECORDS_PER_PAGE }, (_, at) => `a/${at + 100}`);
    for (const name of names) await put(records, name, "x");
    for (const withheld of [0, 1, MAX_RECORDS_PER_PAGE - 1, MAX_RECORDS_PER_PAGE, names.length - 1]) {
      const record = stored(parent, names[withheld] ?? "");
      parent.records.delete(record.name);
      for (let from = 0; from < names.length; from += 1) {
        const page = records.list(notes, "a/", names[from - 1] ?? null);
        const isOnPage = withheld >= from && withheld <= from + MAX_RECORDS_PER_PAGE - 1;
        if (isOnPage) await expect(page, `${withheld} from ${from}`).rejects.toMatchObject(rolledBack);
        else
          expect(await page).toHaveLength(
            Math.min(MAX_RECORDS_PER_PAGE, names.length - from - Number(withheld >= from)),
          );
      }
      parent.records.set(record.name, record);
    }
  });

  test("for a deleted record that comes back", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const deleted = stored(parent, "a/1");
    expect(await remove(records, "a/1")).toBe(true);
    expect(await records.read(notes, "a/1")).toBeNull();
    expect(await records.list(notes, "a/", null)).toEqual([]);
    parent.records.set(deleted.name, deleted);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    await expect(records.list(notes, "a/", null)).rejects.toMatchObject(rolledBack);
  });

  test("and what is made again after a deletion has a higher version than any before", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    await put(records, "a/1", "two");
    const second = stored(parent, "a/1");
    await remove(records, "a/1");
    await put(records, "a/1", "again");
    expect(stored(parent, "a/1").version).toBe(4);
    parent.records.set(second.name, second);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });

  test("not for an answer that was overtaken by a newer one: it is asked for again, and what is known is not lowered", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const release = holdBack(parent, "get");
    const late = textOf(records, "a/1");
    await put(records, "a/1", "two");
    release();
    expect(await late).toBe("two");
    expect(await textOf(records, "a/1")).toBe("two");
  });

  test("for a parent that lets each answer be overtaken, and gives the older one each time", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const older = stored(parent, "a/1");
    let isWriting = false;
    parent.answer = async (call, act) => {
      if (call.kind !== "get" || isWriting) return act();
      isWriting = true;
      await put(records, "a/1", "newer");
      isWriting = false;
      return { kind: "record", record: older };
    };
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });

  test("not for a list from before a deletion that was answered first: it is asked for again", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const release = holdBack(parent, "list");
    const list = records.list(notes, "a/", null);
    await put(records, "a/2", "two");
    await remove(records, "a/1");
    release();
    expect((await list).map(({ value }) => value.text)).toEqual(["two"]);
  });

  test("for a write's own record, once the parent said that it was made", async () => {
    const { parent, records } = start();
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    expect(await put(records, "a/1", "one")).toBe(true);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });

  test("and a write's answer that comes late does not hide a newer version", async () => {
    const { parent, records } = start();
    const release = holdBack(parent, "write");
    const late = put(records, "a/1", "one");
    // The record is there already, and can be read and written before the first write's answer.
    await expect.poll(() => parent.records.size).toBe(1);
    const first = stored(parent, "a/1");
    expect(await put(records, "a/1", "two")).toBe(true);
    release();
    // It was made, and another on top of it: whoever waited for it has to look again.
    expect(await late).toBe(false);
    expect(await textOf(records, "a/1")).toBe("two");
    parent.records.set(first.name, first);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });
});

test("a record that is known cannot be made anew, though the parent would let it", async () => {
  const { parent, records } = start();
  await put(records, "a/1", "one");
  parent.records.clear();
  expect(await records.write([change(notes, "a/1", null, { text: "instead" })])).toBe(false);
  expect(parent.records.size).toBe(0);
});

describe("RECORD_TAMPERED", () => {
  test("for another record's content under this name, in a read and in a list", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    await put(records, "a/2", "two");
    parent.records.set("note/a/1", { ...stored(parent, "a/2"), name: "note/a/1" });
    const later = boot(parent);
    await expect(later.read(notes, "a/1")).rejects.toMatchObject(tampered);
    await expect(later.list(notes, "a/", null)).rejects.toMatchObject(tampered);
  });

  test("for a version that is not the one that was sealed", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    parent.records.set("note/a/1", { ...stored(parent, "a/1"), version: 9 });
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(tampered);
    // A forged number must not have been believed.
    parent.records.set("note/a/1", { ...stored(parent, "a/1"), version: 1 });
    expect(await textOf(records, "a/1")).toBe("one");
  });
});

describe("RECORDS_UNAVAILABLE", () => {
  test.each(["get", "write", "list"] as const)("for a failure in answer to a %s", async (kind) => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    parent.answer = (call, act) => (call.kind === kind ? { kind: "failed" } : act());
    const work = {
      get: () => textOf(records, "a/1"),
      write: () => put(records, "a/1", "two"),
      list: () => records.list(notes, "a/", null),
    };
    await expect(work[kind]()).rejects.toMatchObject(unavailable);
  });

  test.each<[string, (one: StoredRecord, two: StoredRecord) => StoredRecord[]]>([
    ["another folder's", (one) => [{ ...one, name: "note/b/1" }]],
    ["one record twice", (one) => [one, one]],
    ["records out of order", (one, two) => [two, one]],
  ])("for a list with %s", async (_what, list) => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    await put(records, "a/2", "two");
    const answer = { kind: "records", records: list(stored(parent, "a/1"), stored(parent, "a/2")) } as const;
    parent.answer = () => answer;
    await expect(records.list(notes, "a/", null)).rejects.toMatchObject(unavailable);
  });

  test("for a list that goes back behind where it was asked to begin", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    parent.answer = () => ({ kind: "records", records: [stored(parent, "a/1")] });
    await expect(records.list(notes, "a/", "a/1")).rejects.toMatchObject(unavailable);
  });

  test("for a record of another name than was asked for", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    parent.answer = () => ({ kind: "record", record: stored(parent, "a/1") });
    await expect(records.read(notes, "a/2")).rejects.toMatchObject(unavailable);
  });

  test.each([true, false])("for a write whose answer is lost, done: %s; the next read tells", async (isDone) => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const read = await records.read(notes, "a/1");
    parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      if (isDone) act();
      parent.cut();
      return { kind: "written" };
    };
    const write = records.write([change(notes, "a/1", read, { text: "two" })]);
    await expect(write).rejects.toMatchObject(unavailable);
    parent.answer = (_call, act) => act();
    expect(await textOf(records, "a/1")).toBe(isDone ? "two" : "one");
    expect(await put(records, "a/1", "three")).toBe(true);
    expect(await textOf(records, "a/1")).toBe("three");
  });

  test("for a lost write that the parent brings out later, beside the one that was made instead", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    let kept: StoredRecord | undefined;
    parent.answer = (call, act) => {
      const [change] = call.kind === "write" ? call.changes : [];
      if (change === undefined) return act();
      if (change.value !== null) kept = { name: change.name, version: change.version, value: change.value };
      return { kind: "failed" };
    };
    await expect(put(records, "a/1", "lost")).rejects.toMatchObject(unavailable);
    parent.answer = (_call, act) => act();
    expect(await put(records, "a/1", "instead")).toBe(true);
    if (kept === undefined) throw new Error("the write was not seen");
    expect(kept.version).toBe(stored(parent, "a/1").version);
    parent.records.set(kept.name, kept);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });
});

describe("a store that says that a stale write was made", () => {
  test("is not believed by the writer who knows a later version", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const read = await records.read(notes, "a/1");
    await put(records, "a/1", "two");
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    expect(await records.write([change(notes, "a/1", read, { text: "three" })])).toBe(false);
  });

  test("is believed by one of two writers at once, and the other looks again", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const read = await records.read(notes, "a/1");
    parent.answer = (call, act) => {
      const answer = act();
      return call.kind === "write" ? { kind: "written" } : answer;
    };
    const outcomes = await Promise.all(
      ["two", "three"].map((text) => records.write([change(notes, "a/1", read, { text })])),
    );
    expect(outcomes).toEqual([true, false]);
  });
});

describe("a deletion whose answer is lost", () => {
  async function deleteUnanswered(isDone: boolean) {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const before = stored(parent, "a/1");
    parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      if (isDone) act();
      return { kind: "failed" };
    };
    await expect(remove(records, "a/1")).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    parent.answer = (_call, act) => act();
    return { parent, records, before };
  }

  test("if it was done, the name is free again, and what was deleted does not come back", async () => {
    const { parent, records, before } = await deleteUnanswered(true);
    expect(await textOf(records, "a/1")).toBeUndefined();
    expect(await records.list(notes, "a/", null)).toEqual([]);
    expect(await put(records, "a/1", "new")).toBe(true);
    expect(await textOf(records, "a/1")).toBe("new");
    parent.records.set(before.name, before);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    // Nor is it free because the parent shows nothing there: a deletion is a record.
    parent.records.delete(before.name);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });

  test("if it was not, the record is still there and can be deleted", async () => {
    const { records } = await deleteUnanswered(false);
    expect(await textOf(records, "a/1")).toBe("one");
    expect(await remove(records, "a/1")).toBe(true);
    expect(await textOf(records, "a/1")).toBeUndefined();
  });
});

describe("what another enclave does meanwhile", () => {
  test("to a record: its later versions are taken, and its deletions, and what it makes in their place", async () => {
    const { parent, records } = start();
    const other = another(parent);
    await put(records, "a/1", "one");
    expect(await textOf(other, "a/1")).toBe("one");
    await put(other, "a/1", "two");
    expect(await textOf(records, "a/1")).toBe("two");
    expect(await remove(other, "a/1")).toBe(true);
    expect(await textOf(records, "a/1")).toBeUndefined();
    expect(await records.list(notes, "a/", null)).toEqual([]);
    expect(await put(other, "a/1", "again")).toBe(true);
    expect(await textOf(records, "a/1")).toBe("again");
    expect(await put(records, "a/1", "and again")).toBe(true);
    expect(await textOf(other, "a/1")).toBe("and again");
  });

  test("deleted by another, a record does not come back to who had seen it, nor vanish", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const before = stored(parent, "a/1");
    await remove(another(parent), "a/1");
    expect(await textOf(records, "a/1")).toBeUndefined();
    parent.records.set(before.name, before);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    parent.records.delete(before.name);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
  });

  test("of writes on one version at once, one is made, whichever enclave's", async () => {
    const { parent, records } = start();
    await put(records, "a/1", "one");
    const enclaves = [records, another(parent), another(parent)];
    const reads = await Promise.all(enclaves.map((each) => each.read(notes, "a/1")));
    const outcomes = await Promise.all(
      enclaves.map((each, at) => each.write([change(notes, "a/1", reads[at] ?? null, { text: `by ${at}` })])),
    );
    expect(outcomes.filter((isMade) => isMade)).toHaveLength(1);
    for (const each of enclaves) expect(await textOf(each, "a/1")).toBe(`by ${outcomes.indexOf(true)}`);
  });

  test("a sibling that another enclave sealed, and a store that told both it was made, is refused by who has the other", async () => {
    const { parent, records } = start();
    const other = another(parent);
    let kept: StoredRecord | undefined;
    parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      const [made] = call.changes;
      if (made?.value != null) kept = { name: made.name, version: made.version, value: made.value };
      return { kind: "written" };
    };
    expect(await put(records, "a/1", "mine")).toBe(true);
    expect(await put(other, "a/1", "theirs")).toBe(true);
    if (kept === undefined) throw new Error("the write was not seen");
    parent.answer = (_call, act) => act();
    parent.records.set(kept.name, kept);
    await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
    expect(await textOf(other, "a/1")).toBe("theirs");
  });

  test("a page that is full of deletions does not hide what comes after it", async () => {
    const { parent, records } = start();
    for (let at = 0; at < 2 * MAX_RECORDS_PER_PAGE; at += 1) await put(records, `a/${at + 100}`, "x");
    for (let at = 0; at < MAX_RECORDS_PER_PAGE + 2; at += 1) await remove(another(parent), `a/${at + 100}`);
    const page = await records.list(notes, "a/", null);
    expect(page.map(({ name }) => name)).toEqual(
      Array.from({ length: MAX_RECORDS_PER_PAGE - 2 }, (_, at) => `note/a/${at + 100 + MAX_RECORDS_PER_PAGE + 2}`),
    );
  });
});

describe("a record that goes by itself", () => {
  const passing: RecordKind<{ untilMs: number }> = {
    prefix: "passing/",
    schema: z.strictObject({ untilMs: z.int() }),
    expiresAtMs: ({ untilMs }) => untilMs,
  };

  function startAt(nowMs: number) {
    const parent = new MemoryParent();
    const clock = { nowMs };
    const cipher = new RecordCipher(SECRET, { deployment: "test", generation: 1 });
    const bootHere = () => new Records(new RecordStore(parent.vsock), cipher, undefined, () => clock.nowMs);
    return { parent, clock, bootHere, records: bootHere() };
  }

  test("tells the store from when on, must be there until then, and may be made anew afterwards", async () => {
    const { parent, clock, records } = startAt(1_000);
    expect(await records.write([change(passing, "a", null, { untilMs: 2_000 })])).toBe(true);
    const kept = parent.records.get("passing/a");
    if (kept === undefined) throw new Error("no such record");
    expect(kept.expiresAtMs).toBe(2_000);
    parent.records.clear();
    await expect(records.read(passing, "a")).rejects.toMatchObject(rolledBack);
    clock.nowMs = 2_000;
    expect(await records.read(passing, "a")).toBeNull();
    expect(await records.list(passing, "", null)).toEqual([]);
    expect(await records.write([change(passing, "a", null, { untilMs: 3_000 })])).toBe(true);
    // With a version over the one before: that one does not come back while this one must be there.
    parent.records.set(kept.name, kept);
    await expect(records.read(passing, "a")).rejects.toMatchObject(rolledBack);
  });

  test("may be missing from a list if it expired while that was on its way, and hides no other by that", async () => {
    const { parent, clock, records } = startAt(1_000);
    const names = Array.from({ length: MAX_RECORDS_PER_PAGE + 5 }, (_, at) => `a/${at + 100}`);
    const untilMs = (name: string) => (name === "a/101" ? 2_000 : 9_000);
    for (const name of names) await records.write([change(passing, name, null, { untilMs: untilMs(name) })]);
    const expireMeanwhile = (withheld: readonly string[]) => {
      for (const name of withheld) parent.records.delete(`passing/${name}`);
      clock.nowMs = 1_000;
      parent.answer = (_call, act) => {
        clock.nowMs = 2_000;
        return act();
      };
    };
    expireMeanwhile(["a/101"]);
    const listed = await records.list(passing, "a/", null);
    expect(listed.map(({ name }) => name.slice("passing/".length))).toEqual(
      names.filter((name) => name !== "a/101").slice(0, MAX_RECORDS_PER_PAGE),
    );
    expireMeanwhile(["a/101", `a/${100 + MAX_RECORDS_PER_PAGE}`]);
    await expect(records.list(passing, "a/", null)).rejects.toMatchObject(rolledBack);
  });

  test("that another enclave has made anew is taken, once the one before may have gone", async () => {
    const { parent, clock, records, bootHere } = startAt(1_000);
    await records.write([change(passing, "a", null, { untilMs: 2_000 })]);
    await records.write([change(passing, "a", await records.read(passing, "a"), { untilMs: 2_000 })]);
    clock.nowMs = 2_500;
    parent.records.clear();
    expect(await bootHere().write([change(passing, "a", null, { untilMs: 9_000 })])).toBe(true);
    expect(parent.records.get("passing/a")?.version).toBe(1);
    expect((await records.read(passing, "a"))?.value.untilMs).toBe(9_000);
  });

  test("whose end the parent dates earlier must be there all the same, also after it was sealed anew", async () => {
    const { parent, clock, records } = startAt(1_000);
    await records.write([change(passing, "a", null, { untilMs: 9_000 })]);
    const kept = parent.records.get("passing/a");
    if (kept === undefined) throw new Error("no such record");
    expect(await sealAnew(records, [{ ...kept, expiresAtMs: 1 }])).toBe(1);
    clock.nowMs = 2_000;
    parent.records.clear();
    await expect(records.read(passing, "a")).rejects.toMatchObject(rolledBack);
  });
});

test("a pass that seals all records anew does not drive out of memory what is in use", async () => {
  const parent = new MemoryParent();
  const cipher = new RecordCipher(SECRET, { deployment: "test", generation: 1 });
  const others = new Records(new RecordStore(parent.vsock), cipher);
  const records = new Records(new RecordStore(parent.vsock), cipher, 2);
  for (const name of ["b/1", "b/2", "b/3"]) await put(others, name, "one");
  await put(records, "a/1", "one");
  const old = stored(parent, "a/1");
  await put(records, "a/1", "two");
  expect(await sealAnew(records, await records.pageOfAll(null))).toBe(4);
  parent.records.set(old.name, old);
  await expect(records.read(notes, "a/1")).rejects.toMatchObject(rolledBack);
});

test("what was read before is given back without being opened again, if it still stands there, and only then", async () => {
  const { parent, records } = start();
  await put(records, "a/1", "one");
  const known = await records.read(notes, "a/1");
  expect(await records.read(notes, "a/1", known)).toBe(known);
  await put(another(parent), "a/1", "two");
  expect((await records.read(notes, "a/1", known))?.value.text).toBe("two");
  const { name, version } = stored(parent, "a/1");
  const wrong = { ...stored(parent, "a/1"), value: new Uint8Array(64) };
  parent.records.set(name, { ...wrong, version });
  await expect(records.read(notes, "a/1", known)).rejects.toMatchObject(rolledBack);
});

test("a value that could not be read again is not written", async () => {
  const { parent, records } = start();
  for (const value of [{ text: 1.5 }, { text: "x", more: 1 }, { text: "x".repeat(64 * 1024) }]) {
    await expect(records.write([change(notes, "a/1", null, value as { text: string })])).rejects.toThrow("note/");
  }
  expect(parent.records.size).toBe(0);
});

test("of more records than it has room for, it forgets the one not touched for longest", async () => {
  const parent = new MemoryParent();
  const cipher = new RecordCipher(SECRET, { deployment: "test", generation: 1 });
  const records = new Records(new RecordStore(parent.vsock), cipher, 2);
  for (const name of ["a/1", "a/2"]) await put(records, name, "one");
  const olds = ["a/1", "a/2"].map((name) => stored(parent, name));
  for (const name of ["a/2", "a/1"]) await put(records, name, "two");
  await put(records, "a/3", "one");
  for (const old of olds) parent.records.set(old.name, old);
  await expect(records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  // As after a restart, which the threat model says.
  expect(await textOf(records, "a/2")).toBe("one");
});

test("what is kept of a record may be used until a newer one is known, and its use keeps it from being forgotten", async () => {
  const parent = new MemoryParent();
  const cipher = new RecordCipher(SECRET, { deployment: "test", generation: 1 });
  const records = new Records(new RecordStore(parent.vsock), cipher, 2);
  await put(records, "a/1", "one");
  const read = await records.read(notes, "a/1");
  if (read === null) throw new Error("no such record");
  const old = stored(parent, "a/1");
  await put(records, "a/2", "one");
  expect(records.isLatest(read)).toBe(true);
  // Without that look it would be the one to go.
  await put(records, "a/3", "one");
  expect(records.isLatest(read)).toBe(true);
  await put(records, "a/1", "two");
  expect(records.isLatest(read)).toBe(false);
  parent.records.set(old.name, old);
  await expect(records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  expect(records.isLatest({ ...read, name: "note/a/2" })).toBe(false);
});
