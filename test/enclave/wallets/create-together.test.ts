/** Single wallets that are asked for at the same time share writes, and nothing else: not an error, an event or an answer. */
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { Events } from "../../../enclave/events/events.ts";
import type { Users } from "../../../enclave/users/users.ts";
import { type Asker, Wallets } from "../../../enclave/wallets/wallets.ts";
import { MAX_RECORD_CHANGES, type NewWallet, type RecordsCall, type Wallet } from "../../../protocol/index.ts";
import { bootParts, putUser } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const ALICE: Asker = { appId: "app_1", userId: "usr_1", by: "ses_1" };
/** With the user, a wallet and its event each. */
const JOINED = 31;
const KEY: NewWallet = { kind: "single-key" };

interface Enclave {
  readonly wallets: Wallets;
  readonly users: Users;
  readonly events: Events;
}

let parent: MemoryParent;
let enclave: Enclave;
beforeEach(async () => {
  parent = new MemoryParent();
  enclave = await boot();
});

async function boot(owners: readonly Asker[] = [ALICE]): Promise<Enclave> {
  const parts = await bootParts(parent, () => 1_790_000_000_000);
  for (const owner of owners) await putUser(parent, parts, owner);
  return { wallets: new Wallets(parts), users: parts.users, events: parts.events };
}

const requestIds = (count: number) => Array.from({ length: count }, (_, at) => `request-${at}`);

function create(count: number, { wallets } = enclave): Promise<PromiseSettledResult<Wallet>[]> {
  return Promise.allSettled(requestIds(count).map((id) => wallets.create(ALICE, id, KEY)));
}

const codes = (results: readonly PromiseSettledResult<Wallet>[]) =>
  results.map((each) => (each.status === "fulfilled" ? null : (each.reason as { code: string }).code));

const idsOf = (results: readonly PromiseSettledResult<Wallet>[]) =>
  results.flatMap((each) => (each.status === "fulfilled" ? [each.value.walletId] : []));

const stored = () => [...parent.records.keys()].flatMap((name) => /^wallet\/app_1\/usr_1\/(.*)$/.exec(name)?.[1] ?? []);

const writes = () => parent.calls.filter(({ kind }) => kind === "write");

function isWriteOf(call: RecordsCall, part: string): boolean {
  return call.kind === "write" && call.changes.some(({ name }) => name.includes(part));
}

/** The wallets that a user's events tell of, in order; fails for a chain with a gap. */
async function toldOf({ users, events } = enclave): Promise<string[]> {
  const user = await users.get(ALICE.appId, ALICE.userId, 0);
  if (user === null) throw new Error("no user");
  const told: string[] = [];
  let previous = "0".repeat(64);
  for (let after = 0; ; ) {
    const page = await events.list(ALICE.appId, ALICE.userId, user, after);
    for (const { event } of page.events) {
      const { seq, kind, by, details, previous: named } = JSON.parse(event);
      expect([seq, kind, by, named]).toEqual([told.length + 1, "wallet-created", ALICE.by, previous]);
      previous = createHash("sha256").update(event).digest("hex");
      told.push(details.walletId);
    }
    if (!page.more) return told;
    after += page.events.length;
  }
}

describe("of one user", () => {
  test("each is answered with a wallet of its own, in as few writes as hold them, and told of once", async () => {
    const before = writes().length;
    const made = await create(200);
    const ids = idsOf(made);
    expect(new Set(ids).size).toBe(200);
    expect(stored().sort()).toEqual(ids.toSorted());
    expect((await toldOf()).sort()).toEqual(ids.toSorted());
    const since = writes().slice(before);
    expect(since.every((call) => call.kind === "write" && call.changes.length <= MAX_RECORD_CHANGES)).toBe(true);
    expect(since.length).toBeLessThanOrEqual(Math.ceil(200 / JOINED) + 1);
  });

  test("one by itself waits for nobody", async () => {
    const before = writes().length;
    expect(codes(await create(1))).toEqual([null]);
    expect(writes().length - before).toBe(1);
  });

  test("asked again at the same moment, and later, it is the same wallet and one event", async () => {
    const { wallets } = enclave;
    const twice = await Promise.all(["a", "b", "a", "a"].map((id) => wallets.create(ALICE, id, KEY)));
    expect(twice[2]).toEqual(twice[0]);
    expect(twice[3]).toEqual(twice[0]);
    expect(await (await boot()).wallets.create(ALICE, "a", KEY)).toEqual(twice[0]);
    expect(stored()).toHaveLength(2);
    expect(await toldOf()).toHaveLength(2);
  });

  test("a request id that made another wallet is refused, and its neighbours are made", async () => {
    await enclave.wallets.create(ALICE, "request-7", { kind: "single-key", curve: "ed25519" });
    for (const each of [enclave, await boot()]) {
      const made = await create(20, each);
      expect(codes(made)).toEqual(Array.from({ length: 20 }, (_, at) => (at === 7 ? "RECORD_CONFLICT" : null)));
      expect(stored()).toHaveLength(20);
      expect(await toldOf(each)).toHaveLength(20);
    }
  });

  test("a wallet of many accounts is written alone, and one of none that can be is refused alone", async () => {
    const { wallets } = enclave;
    const accounts = Array.from({ length: 64 }, (_, index) => ({ format: "bitcoin-p2tr", index }) as const);
    const path = [{ format: "ethereum", path: "m/0" }] as const;
    const made = await Promise.allSettled([
      wallets.create(ALICE, "large", { kind: "hd", accounts }),
      wallets.create(ALICE, "wrong", { kind: "single-key", accounts: [...path] }),
      ...requestIds(40).map((id) => wallets.create(ALICE, id, KEY)),
    ]);
    expect(codes(made)).toEqual([null, "INVALID_PARAMS", ...Array(40).fill(null)]);
    expect(writes().some((call) => call.kind === "write" && call.changes.length === 3)).toBe(true);
    expect((await toldOf()).sort()).toEqual(idsOf(made).sort());
  });

  test("what else changes the user comes between, and nothing is lost", async () => {
    const { wallets } = enclave;
    const first = await wallets.create(ALICE, "first", KEY);
    const [made, many] = await Promise.all([
      create(100),
      wallets.createMany(ALICE, "batch", Array(70).fill(KEY)),
      wallets.delete(ALICE, first.walletId, true, async (user) => ({ user, changes: [] })),
    ]);
    expect(codes(made)).toEqual(Array(100).fill(null));
    expect(many.every((each) => "wallet" in each)).toBe(true);
    expect(stored()).toHaveLength(1 + 100 + 70);
    const user = await enclave.users.get(ALICE.appId, ALICE.userId, 0);
    expect(user?.events.count).toBe(1 + 100 + 2 + 1);
  });

  test("another enclave at the same user loses none either", async () => {
    const other = await boot();
    const ofOther = requestIds(60).map((id) => other.wallets.create(ALICE, `other-${id}`, KEY));
    const [made, theirs] = await Promise.all([create(60), Promise.allSettled(ofOther)]);
    expect(codes([...made, ...theirs])).toEqual(Array(120).fill(null));
    expect((await toldOf(await boot())).sort()).toEqual(stored().sort());
    expect(stored()).toHaveLength(120);
  });
});

test("of many users each is written for itself", async () => {
  const owners = Array.from({ length: 20 }, (_, at): Asker => ({ ...ALICE, userId: `usr_${at}`, by: `ses_${at}` }));
  const { wallets, users } = await boot(owners);
  const made = await Promise.all(owners.flatMap((owner) => requestIds(10).map((id) => wallets.create(owner, id, KEY))));
  expect(new Set(made.map(({ walletId }) => walletId)).size).toBe(200);
  for (const { appId, userId } of owners) expect((await users.get(appId, userId, 0))?.events.count).toBe(10);
});

describe("a parent that", () => {
  test("keeps saying that one of them is there, and has none, harms that one alone", async () => {
    const [bad] = idsOf(await create(1));
    parent = new MemoryParent();
    enclave = await boot();
    parent.answer = (call, act) => (isWriteOf(call, `${bad}`) ? { kind: "conflict", name: `${bad}` } : act());
    const made = await create(100);
    expect(codes(made)).toEqual(Array.from({ length: 100 }, (_, at) => (at === 0 ? "RECORD_CONFLICT" : null)));
    expect((await toldOf()).sort()).toEqual(idsOf(made).sort());
  });

  test("refuses every write is given up, after some tries", async () => {
    const before = writes().length;
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "x" } : act());
    expect(codes(await create(20))).toEqual(Array(20).fill("RECORD_CONFLICT"));
    expect(writes().length - before).toBeLessThanOrEqual(20 * 12);
    parent.answer = (_, act) => act();
    expect(codes(await create(20))).toEqual(Array(20).fill(null));
    expect(await toldOf()).toHaveLength(20);
  });

  test("loses the answer leaves them all for a retry to find, told of once", async () => {
    let wrote = 0;
    parent.answer = (call, act) => {
      const answer = act();
      wrote += call.kind === "write" ? 1 : 0;
      return call.kind === "write" && wrote === 2 ? { kind: "failed" } : answer;
    };
    const first = await create(100);
    const lost = codes(first).filter((code) => code === "RECORDS_UNAVAILABLE");
    expect(lost).toHaveLength(JOINED);
    parent.answer = (_, act) => act();
    for (const each of [enclave, await boot()]) {
      const again = await create(100, each);
      expect(codes(again)).toEqual(Array(100).fill(null));
      for (const [at, made] of first.entries()) if (made.status === "fulfilled") expect(again[at]).toEqual(made);
      expect((await toldOf(each)).sort()).toEqual(idsOf(again).sort());
    }
  });

  test("fails before it writes leaves nothing, and the next are made", async () => {
    let failed = false;
    parent.answer = (call, act) => {
      if (call.kind !== "write" || failed) return act();
      failed = true;
      return { kind: "failed" };
    };
    const made = await create(40);
    expect(codes(made).filter((code) => code === "RECORDS_UNAVAILABLE")).toHaveLength(JOINED);
    expect(stored().sort()).toEqual(idsOf(made).sort());
    expect((await toldOf()).sort()).toEqual(idsOf(made).sort());
  });

  const rolledBack = { code: "RECORD_ROLLED_BACK" };

  test("says that it wrote, and keeps nothing, is caught by whatever comes next", async () => {
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    const [walletId] = idsOf(await create(20));
    parent.answer = (_, act) => act();
    await expect(enclave.wallets.open(ALICE, `${walletId}`)).rejects.toMatchObject(rolledBack);
    await expect(enclave.wallets.list(ALICE, null)).rejects.toMatchObject(rolledBack);
    await expect(enclave.wallets.create(ALICE, "next", KEY)).rejects.toMatchObject(rolledBack);
  });

  test.each([
    ["wallets", /^wallet\//],
    ["events", /^event\//],
    ["user", /^user\//],
  ] as const)("says that it wrote, and keeps all but the %s, is caught where that is read", async (what, dropped) => {
    parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      for (const { name, version, value } of call.changes) {
        if (value !== null && !dropped.test(name)) parent.records.set(name, { name, version, value });
      }
      return { kind: "written" };
    };
    const [walletId] = idsOf(await create(20));
    parent.answer = (_, act) => act();
    const open = async () => (await enclave.wallets.open(ALICE, `${walletId}`))[Symbol.dispose]();
    const reads = { wallets: open(), events: toldOf(), user: enclave.users.get(ALICE.appId, ALICE.userId, 0) };
    const others = Object.values(reads).filter((each) => each !== reads[what]);
    await Promise.all([expect(reads[what]).rejects.toMatchObject(rolledBack), Promise.allSettled(others)]);
  });
});
