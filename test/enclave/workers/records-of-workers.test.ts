/**
 * The main thread's memory of records and two workers' over it, on a channel whose messages arrive when the test says:
 * every order in which a write, a reading and a mark can meet.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { FreshCache } from "../../../enclave/vault/fresh-cache.ts";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind, Records } from "../../../enclave/vault/records.ts";
import { answerCall } from "../../../enclave/workers/answer-call.ts";
import { Marks } from "../../../enclave/workers/marks.ts";
import type { FromWorker, Result, WorkerCall } from "../../../enclave/workers/messages.ts";
import { type MainThread, PortGenerations, PortRecords } from "../../../enclave/workers/port-records.ts";
import { RequestError, z } from "../../../protocol/index.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const kind: RecordKind<{ n: number }> = { prefix: "user/", schema: z.strictObject({ n: z.int() }) };
const NAME = "app_a/usr_a";
const SECRET = new Uint8Array(32).fill(1);
const cipher = () => new RecordCipher(SECRET, { deployment: "test", generation: 1 });
/** The main thread's. */
let mainCipher: RecordCipher;

/** In order, as a port is. `hold` keeps what the main thread says from arriving. */
class Channel implements MainThread {
  readonly #main: Records;
  #held: (() => void)[] | null = null;
  readonly remembered: FromWorker[] = [];
  holdsMemories = false;

  constructor(main: Records) {
    this.#main = main;
  }

  say(message: FromWorker): void {
    if (message.kind !== "remember") throw new Error("not expected");
    if (this.holdsMemories) this.remembered.push(message);
    else this.#main.sealed.remember(message.name, message.seen);
  }

  async ask<Call extends WorkerCall>(call: Call): Promise<Result<Call>> {
    const watch = { follow: async () => {}, beforeSealing: async () => {} };
    const reply = await answerCall(call, { sealed: this.#main.sealed, watch, cipher: mainCipher });
    if (this.#held !== null) await new Promise<void>((resolve) => this.#held?.push(resolve));
    if (!reply.done) throw new RequestError(reply.code, reply.message);
    return reply.result as Result<Call>;
  }

  hold(): void {
    this.#held = [];
  }

  get isHolding(): boolean {
    return (this.#held?.length ?? 0) > 0;
  }

  release(): void {
    for (const go of this.#held?.splice(0) ?? []) go();
    this.#held = null;
  }
}

let parent: MemoryParent;
let main: Records;
let marks: Marks;

function worker(): { records: Records; channel: Channel } {
  const channel = new Channel(main);
  const records = new Records(new PortRecords(channel, marks), cipher(), 100, () => 0);
  return { records, channel };
}

async function write(records: Records, n: number | undefined): Promise<void> {
  const read = await records.read(kind, NAME);
  expect(await records.write([change(kind, NAME, read, n === undefined ? undefined : { n })])).toBe(true);
}

beforeEach(async () => {
  parent = new MemoryParent();
  mainCipher = cipher();
  main = new Records(new RecordStore(parent.vsock), mainCipher);
  marks = new Marks();
  main.sealed.onNews((name) => marks.bump(name));
  await write(main, 1);
});

describe("what a worker keeps", () => {
  test("is the latest until the main thread has written something else, and not one step longer", async () => {
    const { records } = worker();
    await records.read(kind, NAME);
    const kept = await records.read(kind, NAME);
    if (kept === null) throw new Error("nothing there");
    expect(records.isLatest(kept)).toBe(true);
    await write(main, 2);
    expect(records.isLatest(kept)).toBe(false);
    expect((await records.read(kind, NAME, kept))?.value).toEqual({ n: 2 });
  });

  test("nor once another worker has written, deleted, or merely read what another enclave wrote", async () => {
    const [one, two] = [worker(), worker()];
    const readTwice = async ({ records }: typeof one) => {
      await records.read(kind, NAME);
      const read = await records.read(kind, NAME);
      if (read === null) throw new Error("nothing there");
      expect(records.isLatest(read)).toBe(true);
      return read;
    };
    let kept = await readTwice(one);
    await write(two.records, 2);
    expect(one.records.isLatest(kept)).toBe(false);
    kept = await readTwice(one);
    await write(new Records(new RecordStore(parent.vsock), cipher()), 3);
    expect(one.records.isLatest(kept)).toBe(true);
    await two.records.read(kind, NAME);
    expect(one.records.isLatest(kept)).toBe(false);
    kept = await readTwice(one);
    await write(two.records, undefined);
    expect(one.records.isLatest(kept)).toBe(false);
    expect(await one.records.read(kind, NAME)).toBeNull();
  });

  test("is looked at again, without being opened, where another name shares its mark", async () => {
    const { records } = worker();
    await records.read(kind, NAME);
    const kept = await records.read(kind, NAME);
    if (kept === null) throw new Error("nothing there");
    marks.bump(`user/${NAME}`);
    expect(records.isLatest(kept)).toBe(false);
    expect(await records.read(kind, NAME, kept)).toBe(kept);
    expect(records.isLatest(kept)).toBe(true);
  });
});

describe("an older record on its way to a worker while the main thread acknowledges a newer one", () => {
  test("is not the latest when it arrives", async () => {
    const { records, channel } = worker();
    channel.hold();
    const reading = records.read(kind, NAME);
    await expect.poll(() => channel.isHolding).toBe(true);
    await write(main, 2);
    channel.release();
    const read = await reading;
    expect(read?.value).toEqual({ n: 1 });
    expect(read !== null && records.isLatest(read)).toBe(false);
  });

  test("is not what those get who ask after that: they do not join those who asked before", async () => {
    const { records, channel } = worker();
    const cache = new FreshCache({ records, kind, nowMs: () => 5_000, maxBytes: 10_000 });
    channel.hold();
    const before = cache.read(NAME);
    await expect.poll(() => channel.isHolding).toBe(true);
    const joined = cache.read(NAME);
    await write(main, 2);
    const after = cache.read(NAME);
    channel.release();
    expect((await before)?.value).toEqual({ n: 1 });
    expect((await joined)?.value).toEqual({ n: 1 });
    expect((await after)?.value).toEqual({ n: 2 });
    expect((await cache.read(NAME))?.value).toEqual({ n: 2 });
  });

  test("read from the store before the write and answered after it is asked for again", async () => {
    const { records } = worker();
    const stale = parent.records.get(`user/${NAME}`);
    let isFirst = true;
    const held = Promise.withResolvers<void>();
    parent.answer = async (call, act) => {
      if (call.kind !== "get" || !isFirst || stale === undefined) return act();
      isFirst = false;
      await held.promise;
      return { kind: "record", record: stale };
    };
    const reading = records.read(kind, NAME);
    await new Promise(setImmediate);
    await write(main, 2);
    held.resolve();
    expect((await reading)?.value).toEqual({ n: 2 });
  });
});

describe("a parent that brings back what was", () => {
  test("is refused by a worker that never read the newer one", async () => {
    const before = new Map(parent.records);
    await write(main, 2);
    for (const [name, record] of before) parent.records.set(name, record);
    await expect(worker().records.read(kind, NAME)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    await expect(worker().records.list(kind, "app_a/", null)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    parent.records.clear();
    await expect(worker().records.read(kind, NAME)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });

  test("is refused by all once one worker has opened the newer one, before anybody hears of that", async () => {
    const before = new Map(parent.records);
    await write(new Records(new RecordStore(parent.vsock), cipher()), 2);
    const [one, two] = [worker(), worker()];
    expect((await one.records.read(kind, NAME))?.value).toEqual({ n: 2 });
    for (const [name, record] of before) parent.records.set(name, record);
    await expect(two.records.read(kind, NAME)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    await expect(main.read(kind, NAME)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });

  test("is refused by the worker itself, should the main thread not know it yet", async () => {
    const before = new Map(parent.records);
    await write(new Records(new RecordStore(parent.vsock), cipher()), 2);
    const { records, channel } = worker();
    channel.holdsMemories = true;
    await records.read(kind, NAME);
    for (const [name, record] of before) parent.records.set(name, record);
    await expect(records.read(kind, NAME)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });
});

describe("writes", () => {
  test("of two workers based on the same record: one is made", async () => {
    const [one, two] = [worker(), worker()];
    const [ofOne, ofTwo] = [await one.records.read(kind, NAME), await two.records.read(kind, NAME)];
    const made = await Promise.all([
      one.records.write([change(kind, NAME, ofOne, { n: 2 })]),
      two.records.write([change(kind, NAME, ofTwo, { n: 3 })]),
    ]);
    expect(made.filter((each) => each)).toHaveLength(1);
  });

  test("based on what the main thread has replaced are not even asked for", async () => {
    const { records } = worker();
    const read = await records.read(kind, NAME);
    await write(main, 2);
    const calls = parent.calls.length;
    expect(await records.write([change(kind, NAME, read, { n: 3 })])).toBe(false);
    expect(parent.calls.length).toBe(calls);
  });

  test("in the place of what was deleted elsewhere", async () => {
    const { records } = worker();
    await write(main, undefined);
    await write(records, 5);
    expect((await main.read(kind, NAME))?.value).toEqual({ n: 5 });
  });

  test("ask the main thread for the generation once in a while", async () => {
    const asked: WorkerCall[] = [];
    let nowMs = 10_000;
    const channel = { say: () => {}, ask: async (call: WorkerCall) => asked.push(call) as never };
    const generations = new PortGenerations(channel, () => nowMs);
    for (const each of [10_000, 12_000, 14_999, 15_000]) {
      nowMs = each;
      await generations.beforeSealing();
    }
    expect(asked).toHaveLength(2);
  });
});

test("what a worker has sealed under a generation that is not in use any more is not written: it would be retired unseen", async () => {
  const { records } = worker();
  const read = await records.read(kind, NAME);
  mainCipher.add(2, new Uint8Array(32).fill(2));
  mainCipher.use(2);
  // The worker has not heard of it, or had sealed before.
  expect(await records.write([change(kind, NAME, read, { n: 2 })])).toBe(false);
  expect(parent.records.get(`user/${NAME}`)?.version).toBe(1);
});
