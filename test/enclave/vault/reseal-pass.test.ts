/** The pass that seals records anew, against stores that are slow, change, fail, end, or lie. */
import { describe, expect, test } from "vitest";
import { generationOf, RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind, Records } from "../../../enclave/vault/records.ts";
import { ResealPass } from "../../../enclave/vault/reseal-pass.ts";
import {
  MAX_RECORD_CHANGES,
  MAX_RECORDS_PER_PAGE,
  type RecordsCall,
  RequestError,
  type StoredRecord,
  z,
} from "../../../protocol/index.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const notes: RecordKind<{ text: string }> = { prefix: "note/", schema: z.strictObject({ text: z.string() }) };
const COUNT = 300;
const MAX_UNDER_WAY = 2;
const nameOf = (at: number) => `note/a/${String(at).padStart(4, "0")}`;

class World {
  readonly parent = new MemoryParent();
  readonly cipher = new RecordCipher(new Uint8Array(32).fill(1), { deployment: "test", generation: 1 });
  readonly store = new RecordStore(this.parent.vsock);
  readonly records = new Records(this.store, this.cipher);
  readonly stopping = new AbortController();
  resealed = 0;
  keepBeating: () => Promise<void> = async () => {};

  /** Records of the first generation, made by an enclave that is gone. */
  static async filled(count = COUNT, text = "text"): Promise<World> {
    const world = new World();
    const { parent, cipher } = world;
    const before = new Records(new RecordStore(parent.vsock), cipher);
    for (let at = 0; at < count; at += 1) {
      await before.write([change(notes, nameOf(at).slice(notes.prefix.length), null, { text: `${text} ${at}` })]);
    }
    cipher.add(2, new Uint8Array(32).fill(2));
    cipher.use(2);
    parent.calls.length = 0;
    return world;
  }

  pass(): ResealPass {
    return new ResealPass({
      ...{ records: this.records, cipher: this.cipher, signal: this.stopping.signal },
      keepBeating: () => this.keepBeating(),
      onResealed: (count) => {
        this.resealed += count;
      },
    });
  }

  /** So many are of this generation. */
  of(generation: number): number {
    return [...this.parent.records.values()].filter(({ value }) => generationOf(value) === generation).length;
  }

  stored(at: number): StoredRecord {
    const record = this.parent.records.get(nameOf(at));
    if (record === undefined) throw new Error("no such record");
    return record;
  }

  /** As another enclave does that has not seen the new generation yet. */
  writeElsewhere(at: number, generation = 1): void {
    const { name, version, value } = this.stored(at);
    const next = version + 1;
    const plaintext = this.cipher.open({ name, version }, value);
    const sealed = this.cipher.seal({ name, version: next }, plaintext, generation);
    this.parent.records.set(name, { name, version: next, value: Uint8Array.from(sealed) });
  }

  writes(): Extract<RecordsCall, { kind: "write" }>[] {
    return this.parent.calls.filter((call) => call.kind === "write");
  }

  lists(): Extract<RecordsCall, { kind: "list" }>[] {
    return this.parent.calls.filter((call) => call.kind === "list");
  }

  async expectAllThere(count = COUNT): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      expect((await this.records.read(notes, nameOf(at).slice(notes.prefix.length)))?.value.text).toBe(`text ${at}`);
    }
  }
}

/** Holds writes until they are let go, and knows how many there were at a time. */
function holdWrites(world: World): { readonly held: () => number; readonly letGo: () => void } {
  const waiting: (() => void)[] = [];
  let isHolding = true;
  world.parent.answer = async (call, act) => {
    if (isHolding && call.kind === "write") await new Promise<void>((resolve) => void waiting.push(resolve));
    return act();
  };
  return {
    held: () => waiting.length,
    letGo: () => {
      isHolding = false;
      for (const each of waiting) each();
    },
  };
}

/** Whatever could be done without another answer has been done. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
}

describe("how much at a time", () => {
  test("many records go in one write, two writes at a time, and no more is read than goes into the next", async () => {
    const world = await World.filled(600);
    const { held, letGo } = holdWrites(world);
    const running = world.pass().run();
    await expect.poll(held).toBe(MAX_UNDER_WAY);
    await quiet();
    expect(held()).toBe(MAX_UNDER_WAY);
    expect(world.writes().map(({ changes }) => changes.length)).toEqual([MAX_RECORD_CHANGES, MAX_RECORD_CHANGES]);
    const read = world.lists().length * MAX_RECORDS_PER_PAGE;
    expect(read).toBeLessThanOrEqual((MAX_UNDER_WAY + 1) * MAX_RECORD_CHANGES + MAX_RECORDS_PER_PAGE);
    letGo();
    expect(await running).toBe(600);
    expect(world.resealed).toBe(600);
    expect(world.of(2)).toBe(600);
    expect(world.writes()).toHaveLength(Math.ceil(600 / MAX_RECORD_CHANGES));
  });

  test("never are there more than two writes and one list under way", async () => {
    const world = await World.filled();
    const underWay = { write: 0, list: 0, get: 0 };
    let most = 0;
    world.parent.answer = async (call, act) => {
      underWay[call.kind] += 1;
      expect(underWay.write).toBeLessThanOrEqual(MAX_UNDER_WAY);
      expect(underWay.list).toBeLessThanOrEqual(1);
      most = Math.max(most, underWay.write + underWay.list);
      // Lists are quick, writes slow.
      if (call.kind === "write") await quiet();
      underWay[call.kind] -= 1;
      return act();
    };
    expect(await world.pass().run()).toBe(COUNT);
    expect(most).toBe(MAX_UNDER_WAY + 1);
    expect(world.of(2)).toBe(COUNT);
  });

  test("large records go in several writes, each of which fits into a frame", async () => {
    const world = await World.filled(40, "x".repeat(60 * 1024));
    expect(await world.pass().run()).toBe(40);
    expect(world.of(2)).toBe(40);
    for (const { changes } of world.writes()) {
      expect(changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)).toBeLessThanOrEqual(512 * 1024);
    }
  });

  test("wrapped secrets, and what is of this generation already, are left alone", async () => {
    const world = await World.filled(20);
    world.parent.records.set("vault/1", { name: "vault/1", version: 1, value: new Uint8Array(100) });
    expect(await world.pass().run()).toBe(20);
    world.parent.calls.length = 0;
    expect(await world.pass().run()).toBe(0);
    expect(world.writes()).toEqual([]);
  });
});

describe("a record that changes meanwhile", () => {
  test("one among many is met again by the next pass, and all others are sealed anew", async () => {
    const world = await World.filled();
    let isFirst = true;
    world.parent.answer = (call, act) => {
      if (call.kind === "write" && isFirst) {
        isFirst = false;
        world.writeElsewhere(7);
      }
      return act();
    };
    expect(await world.pass().run()).toBe(COUNT);
    expect(world.resealed).toBe(COUNT - 1);
    expect(world.of(1)).toBe(1);
    expect(world.stored(7).version).toBe(2);
    // It was looked for by halves, and not one by one.
    expect(world.writes().length).toBeLessThan(
      Math.ceil(COUNT / MAX_RECORD_CHANGES) + 2 * Math.log2(MAX_RECORD_CHANGES) + 1,
    );
    expect(await world.pass().run()).toBe(1);
    expect(world.of(2)).toBe(COUNT);
    await world.expectAllThere();
  });

  test("many of them too", async () => {
    const world = await World.filled();
    let isFirst = true;
    world.parent.answer = (call, act) => {
      if (call.kind === "write" && isFirst) {
        isFirst = false;
        for (let at = 0; at < COUNT; at += 5) world.writeElsewhere(at);
      }
      return act();
    };
    await world.pass().run();
    const left = await world.pass().run();
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(COUNT / 5);
    expect(world.of(2)).toBe(COUNT);
    await world.expectAllThere();
  });

  test("by this enclave, while the list is on its way: that is no rollback", async () => {
    const world = await World.filled(30);
    await world.expectAllThere(30);
    let isFirst = true;
    world.parent.answer = async (call, act) => {
      const answer = act();
      if (call.kind === "list" && isFirst) {
        isFirst = false;
        const read = await world.records.read(notes, "a/0003");
        expect(await world.records.write([change(notes, "a/0003", read, { text: "text 3" })])).toBe(true);
      }
      return answer;
    };
    expect(await world.pass().run()).toBe(30);
    expect(world.resealed).toBe(29);
    expect(world.of(2)).toBe(30);
    await world.expectAllThere(30);
  });
});

describe("a store that fails", () => {
  test("in the middle ends it; it goes on where it was, and the next pass meets what was not written", async () => {
    const world = await World.filled();
    let writes = 0;
    world.parent.answer = (call, act) => {
      if (call.kind === "write") writes += 1;
      return call.kind === "write" && writes === 3 ? { kind: "failed" } : act();
    };
    const pass = world.pass();
    await expect(pass.run()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    const made = writes;
    await quiet();
    expect(writes).toBe(made);
    expect(pass.isOver).toBe(false);
    world.parent.calls.length = 0;
    expect(await pass.run()).toBeGreaterThan(0);
    expect(world.lists()[0]?.after).not.toBeNull();
    expect(pass.isOver).toBe(true);
    const left = world.of(1);
    expect(left).toBeGreaterThanOrEqual(MAX_RECORD_CHANGES);
    expect(left).toBeLessThan(COUNT);
    expect(await world.pass().run()).toBe(left);
    expect(world.of(2)).toBe(COUNT);
    await world.expectAllThere();
  });

  test("at its last write: the pass is not taken for one that found nothing", async () => {
    const world = await World.filled(10);
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "failed" } : act());
    const pass = world.pass();
    await expect(pass.run()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    expect(pass.isOver).toBe(true);
    expect(world.of(1)).toBe(10);
  });

  test("whose answers are lost has made what it made: nothing is lost, and nothing made twice", async () => {
    const world = await World.filled();
    world.parent.answer = (call, act) => {
      const answer = act();
      return call.kind === "write" ? { kind: "failed" } : answer;
    };
    await expect(world.pass().run()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    world.parent.answer = (_call, act) => act();
    await world.pass().run();
    expect(world.of(2)).toBe(COUNT);
    for (let at = 0; at < COUNT; at += 1) expect(world.stored(at).version).toBe(2);
    await world.expectAllThere();
  });
});

describe("its end", () => {
  test("stopped, it begins no other write, waits for those under way, and says nothing of what is left", async () => {
    const world = await World.filled(600);
    const { held, letGo } = holdWrites(world);
    const running = world.pass().run();
    await expect.poll(held).toBe(MAX_UNDER_WAY);
    world.stopping.abort();
    letGo();
    expect(await running).toBeNull();
    await quiet();
    expect(world.writes()).toHaveLength(MAX_UNDER_WAY);
  });

  test("stopped among halves, it writes none of the others", async () => {
    const world = await World.filled(60);
    world.parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      world.stopping.abort();
      return { kind: "conflict", name: nameOf(0) };
    };
    expect(await world.pass().run()).toBeNull();
    expect(world.writes()).toHaveLength(1);
  });

  test("a store that is closed under it is written to no more", async () => {
    const world = await World.filled(600);
    const { held, letGo } = holdWrites(world);
    const running = world.pass().run();
    await expect.poll(held).toBe(MAX_UNDER_WAY);
    world.stopping.abort();
    world.store.close();
    await expect(running).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    letGo();
    await quiet();
    expect(world.writes()).toHaveLength(MAX_UNDER_WAY);
  });

  test("once another enclave has taken over, nothing more is begun", async () => {
    const world = await World.filled(600);
    let pages = 0;
    world.keepBeating = async () => {
      pages += 1;
      if (pages === 12) throw new RequestError("RECORD_CONFLICT", "another enclave goes on");
    };
    await expect(world.pass().run()).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
    const made = world.writes().length;
    await quiet();
    expect(world.writes()).toHaveLength(made);
    expect(made).toBeLessThanOrEqual((11 * MAX_RECORDS_PER_PAGE) / MAX_RECORD_CHANGES);
  });

  test("when a newer generation comes it is over: what it has passed is of one that is old by now", async () => {
    const world = await World.filled();
    let pages = 0;
    world.keepBeating = async () => {
      pages += 1;
      if (pages !== 5) return;
      world.cipher.add(3, new Uint8Array(32).fill(3));
      world.cipher.use(3);
    };
    await expect(world.pass().run()).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
    expect(await world.pass().run()).toBe(COUNT);
    expect(world.of(3)).toBe(COUNT);
  });
});

describe("a hostile parent", () => {
  test("that gives one older record gets no other left out, and no word that all were passed", async () => {
    const world = await World.filled();
    const old = world.stored(5);
    await world.records.read(notes, "a/0005");
    world.writeElsewhere(5);
    await world.records.read(notes, "a/0005");
    world.parent.records.set(old.name, old);
    for (let round = 0; round < 2; round += 1) {
      await expect(world.pass().run()).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    }
    expect(world.of(2)).toBe(COUNT - 1);
    expect(world.stored(5)).toBe(old);
  });

  test("that changes one gets no other left out either, and none sealed anew that the vault did not seal", async () => {
    const world = await World.filled();
    const { name, version, value } = world.stored(5);
    const changed = Uint8Array.from(value);
    changed[30] = (changed[30] ?? 0) ^ 1;
    world.parent.records.set(name, { name, version, value: changed });
    world.parent.records.set("note/b", { name: "note/b", version: 1, value: new Uint8Array(100) });
    await expect(world.pass().run()).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    expect(world.of(2)).toBe(COUNT - 1);
    expect(world.stored(5).value).toBe(changed);
    // Given back as it was, it is sealed anew.
    world.parent.records.delete("note/b");
    world.parent.records.set(name, { name, version, value });
    expect(await world.pass().run()).toBe(1);
    expect(await world.pass().run()).toBe(0);
  });

  test.each<[string, (page: readonly StoredRecord[], first: readonly StoredRecord[]) => readonly StoredRecord[]]>([
    ["repeats a page", (_page, first) => first],
    ["gives a page in another order", (page) => [...page].reverse()],
    ["gives what lies before the page that was asked for", (page, first) => [...first.slice(0, 1), ...page.slice(1)]],
  ])("that %s does not bring it to its end", async (_what, lie) => {
    const world = await World.filled();
    let first: readonly StoredRecord[] = [];
    world.parent.answer = (call, act) => {
      const answer = act();
      if (answer.kind !== "records") return answer;
      if (call.kind === "list" && call.after === null) first = answer.records;
      return call.kind === "list" && call.after !== null
        ? { ...answer, records: [...lie(answer.records, first)] }
        : answer;
    };
    const pass = world.pass();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(pass.run()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
      expect(pass.isOver).toBe(false);
    }
  });

  test("that says of every write that another came between: each record is tried, and found, as often as it is met", async () => {
    const world = await World.filled();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: nameOf(0) } : act());
    expect(await world.pass().run()).toBe(COUNT);
    expect(world.resealed).toBe(0);
    expect(world.writes().length).toBeLessThan(2 * COUNT);
    expect(world.writes().filter(({ changes }) => changes.length === 1)).toHaveLength(COUNT);
    world.parent.answer = (_call, act) => act();
    expect(await world.pass().run()).toBe(COUNT);
    await world.expectAllThere();
  });

  test("that says of writes that it made them, and did not, has them found again", async () => {
    const world = await World.filled();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    expect(await world.pass().run()).toBe(COUNT);
    expect(await world.pass().run()).toBe(COUNT);
    expect(world.of(1)).toBe(COUNT);
  });
});
