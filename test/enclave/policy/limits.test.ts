/** Limits that cannot be raced: against many at once, several enclaves, lost answers, and a parent that lies. */
import { describe, expect, test } from "vitest";
import { amountOf } from "../../../enclave/policy/amounts.ts";
import { counterRecords } from "../../../enclave/policy/counter.ts";
import type { Level } from "../../../enclave/policy/decide.ts";
import type { EvmCall } from "../../../enclave/policy/facts.ts";
import { type LimitedRequest, Limits, type Reservation } from "../../../enclave/policy/limits.ts";
import { Ids } from "../../../enclave/vault/ids.ts";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { Records } from "../../../enclave/vault/records.ts";
import type { AllowRule, Limit, StoredRecord } from "../../../protocol/index.ts";
import { MemoryParent } from "../../support/memory-parent.ts";
import { ALICE, BOB, CAROL, SAMPLES, TRANSACTION, USDC, usdcTransfer, WALLET } from "./requests.ts";

const SECRET = new Uint8Array(32).fill(7);
const DAY_S = 86_400;

class World {
  readonly parent = new MemoryParent();
  nowMs = Date.parse("2026-01-07T12:00:00Z");
  #made = 0;

  /** Another enclave on the same store, or the same one after a crash. */
  boot(): Limits {
    const records = new Records(
      new RecordStore(this.parent.vsock),
      new RecordCipher(SECRET, { deployment: "test", generation: 1 }),
    );
    const sleep = () => new Promise<void>((resolve) => setImmediate(resolve));
    return new Limits({ records, ids: new Ids(SECRET), nowMs: () => this.nowMs, sleep });
  }

  request(limits: readonly Limit[], changes: Partial<LimitedRequest> = {}): LimitedRequest {
    return {
      ...{ appId: "app_1", ownerId: ALICE, walletId: WALLET, facts: { ...TRANSACTION, valueWei: 1n } },
      requestKey: (this.#made++).toString(16).padStart(32, "0"),
      levels: [{ level: "app", candidates: [rule("limited", limits)] }],
      isApproved: () => false,
      ...changes,
    };
  }
}

function rule(id: string, limits?: readonly Limit[], approvals?: AllowRule["approvals"]): AllowRule {
  return {
    ...{ id, effect: "allow", when: [] },
    ...(limits === undefined ? {} : { limits }),
    ...(approvals === undefined ? {} : { approvals }),
  };
}

function limitOf(amount: bigint, changes: Partial<Limit> = {}): Limit {
  return { asset: "value", amount: String(amount), windowS: DAY_S, per: "wallet", ...changes };
}

const reservedIn = (all: readonly Reservation[]) => all.filter(({ kind }) => kind === "reserved").length;

describe("never over the limit", () => {
  test("of thousands at once exactly as many are let through as there is room for", async () => {
    const world = new World();
    const limits = world.boot();
    const asked = Array.from({ length: 5000 }, () => limits.reserve(world.request([limitOf(1234n)])));
    const reservations = await Promise.all(asked);
    expect(reservedIn(reservations)).toBe(1234);
    expect(reservations.filter(({ kind }) => kind === "over-limit")).toHaveLength(5000 - 1234);
  });

  test("nor over several enclaves that share one store", async () => {
    const world = new World();
    const enclaves = [world.boot(), world.boot(), world.boot()];
    const asked = Array.from({ length: 3000 }, async (_, at) => {
      // In waves, so that the enclaves meet in the middle of each other's work.
      for (let wave = 0; wave < at % 17; wave += 1) await new Promise((resolve) => setImmediate(resolve));
      return enclaves[at % 3]?.reserve(world.request([limitOf(500n)])).catch((error: unknown) => error);
    });
    const outcomes = await Promise.all(asked);
    const reserved = outcomes.filter((each) => (each as Reservation).kind === "reserved").length;
    const conflicts = outcomes.filter((each) => (each as { code?: string }).code === "RECORD_CONFLICT").length;
    expect(reserved).toBeLessThanOrEqual(500);
    // What collides too often is refused and may ask again: then the room is used up to the last.
    let more = 0;
    if (conflicts > 0) {
      const again = await Promise.all(
        Array.from({ length: 600 }, () =>
          world
            .boot()
            .reserve(world.request([limitOf(500n)]))
            .catch(() => null),
        ),
      );
      more = again.filter((each) => each?.kind === "reserved").length;
    }
    expect(reserved + more).toBe(500);
  });

  test("nor over answers that are lost: what may have been written counts", async () => {
    const world = new World();
    let reserved = 0;
    for (let round = 0; round < 60; round += 1) {
      const limits = world.boot();
      const isLost = round % 2 === 0;
      world.parent.answer = (call, act) => {
        const answer = act();
        // Done, and nobody hears of it: as when the enclave or the parent is killed there.
        if (isLost && call.kind === "write") return { kind: "unavailable" } as unknown as typeof answer;
        return answer;
      };
      const outcome = await limits.reserve(world.request([limitOf(20n)])).catch(({ code }) => code as string);
      if (typeof outcome === "string") expect(outcome).toBe("RECORDS_UNAVAILABLE");
      else if (outcome.kind === "reserved") reserved += 1;
    }
    // Every other one was counted and not let through.
    expect(reserved).toBe(10);
  });

  test("an amount beside the last of the room: what fits exactly is let through, one more is not", async () => {
    const world = new World();
    const limits = world.boot();
    const big = 2n ** 256n - 1n;
    const ask = (valueWei: bigint) =>
      limits.reserve(world.request([limitOf(big)], { facts: { ...TRANSACTION, valueWei } }));
    expect(await ask(big - 5n)).toEqual({ kind: "reserved" });
    expect(await ask(6n)).toMatchObject({ kind: "over-limit", level: "app", rule: { id: "limited" } });
    expect(await ask(5n)).toEqual({ kind: "reserved" });
    expect(await ask(1n)).toMatchObject({ kind: "over-limit" });
    expect(await ask(0n)).toEqual({ kind: "reserved" });
  });
});

describe("a request that is asked again", () => {
  test("is not counted again: at once, later, by another boot, or after the limit is used up", async () => {
    const world = new World();
    const limits = world.boot();
    const first = world.request([limitOf(2n)]);
    const both = await Promise.all([limits.reserve(first), limits.reserve(first)]);
    expect(reservedIn(both)).toBe(2);
    expect(await world.boot().reserve(first)).toEqual({ kind: "reserved" });
    expect(await limits.reserve(world.request([limitOf(2n)]))).toEqual({ kind: "reserved" });
    expect(await limits.reserve(world.request([limitOf(2n)]))).toMatchObject({ kind: "over-limit" });
    expect(await limits.reserve(first)).toEqual({ kind: "reserved" });
    // Whoever's answer was lost finds what was reserved then.
    world.parent.answer = (call, act) => {
      const answer = act();
      return call.kind === "write" ? ({ kind: "unavailable" } as unknown as typeof answer) : answer;
    };
    const other = world.request([limitOf(1n)], { walletId: `wal_${"2".repeat(32)}` });
    await expect(world.boot().reserve(other)).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
    world.parent.answer = (_call, act) => act();
    expect(await world.boot().reserve(other)).toEqual({ kind: "reserved" });
    const next = world.request([limitOf(1n)], { walletId: other.walletId });
    expect(await world.boot().reserve(next)).toMatchObject({ kind: "over-limit" });
  });

  test("goes by the rule that it was counted for, though another has room by now", async () => {
    const world = new World();
    const limits = world.boot();
    const levels = [
      {
        level: "app" as Level,
        candidates: [rule("a", [limitOf(1n)]), rule("b", [limitOf(1n)])] as [AllowRule, AllowRule],
      },
    ];
    const [first, second, third] = [0, 1, 2].map(() => world.request([], { levels })) as [
      LimitedRequest,
      LimitedRequest,
      LimitedRequest,
    ];
    expect(await limits.reserve(first)).toEqual({ kind: "reserved" });
    expect(await limits.reserve(second)).toEqual({ kind: "reserved" });
    expect(await limits.reserve(second)).toEqual({ kind: "reserved" });
    expect(await limits.reserve(third)).toMatchObject({ kind: "over-limit" });
  });
});

describe("windows", () => {
  test("slide: what was let through counts for all of the window, and a sixtieth of it longer at most", async () => {
    const world = new World();
    const limits = world.boot();
    const ask = () => limits.reserve(world.request([limitOf(1n, { asset: "requests", windowS: 3600 })]));
    const startMs = world.nowMs;
    for (let minute = 0; minute < 240; minute += 1) {
      world.nowMs = startMs + minute * 60_000;
      const { kind } = await ask();
      // At 12:00, then from 13:01 on once more, and so on.
      expect(kind).toBe(minute % 61 === 0 ? "reserved" : "over-limit");
    }
  });

  test("never hold more than the limit in any window, wherever it begins", async () => {
    const world = new World();
    const limits = world.boot();
    const madeMs: number[] = [];
    for (let at = 0; at < 400; at += 1) {
      world.nowMs += 1000 + ((at * 7919) % 37_000);
      const { kind } = await limits.reserve(world.request([limitOf(9n, { asset: "requests", windowS: 600 })]));
      if (kind === "reserved") madeMs.push(world.nowMs);
    }
    expect(madeMs.length).toBeGreaterThan(50);
    for (const fromMs of madeMs) {
      expect(madeMs.filter((each) => each >= fromMs && each < fromMs + 600_000).length).toBeLessThanOrEqual(9);
    }
  });
});

describe("what is counted together", () => {
  test("per wallet, per user, or all of the app", async () => {
    const world = new World();
    const limits = world.boot();
    const other = { walletId: `wal_${"2".repeat(32)}` };
    const stranger = { ownerId: `usr_${"b".repeat(32)}` };
    for (const [per, ofWallet, ofUser] of [
      ["wallet", "reserved", "reserved"],
      ["user", "over-limit", "reserved"],
      ["app", "over-limit", "over-limit"],
    ] as const) {
      const ask = (changes: Partial<LimitedRequest>) => limits.reserve(world.request([limitOf(1n, { per })], changes));
      expect((await ask({})).kind).toBe("reserved");
      expect((await ask({})).kind).toBe("over-limit");
      expect((await ask(other)).kind).toBe(ofWallet);
      expect((await ask(stranger)).kind).toBe(ofUser);
    }
  });

  test("coins of each chain by themselves, requests of all chains together, tokens by their contract", async () => {
    const world = new World();
    const limits = world.boot();
    const ask = async (limit: Limit, facts: LimitedRequest["facts"]) =>
      (await limits.reserve(world.request([limit], { facts }))).kind;
    const elsewhere = { ...TRANSACTION, chainId: 137n, valueWei: 1n };
    const here = { ...TRANSACTION, valueWei: 1n };
    expect(await ask(limitOf(1n), here)).toBe("reserved");
    expect(await ask(limitOf(1n), elsewhere)).toBe("reserved");
    expect(await ask(limitOf(1n), here)).toBe("over-limit");
    const requests = limitOf(1n, { asset: "requests" });
    expect(await ask(requests, here)).toBe("reserved");
    expect(await ask(requests, elsewhere)).toBe("over-limit");
    const usdc = limitOf(100n, { asset: "token", token: USDC.toLowerCase() });
    expect(await ask(usdc, usdcTransfer(BOB, 60n))).toBe("reserved");
    expect(await ask(usdc, usdcTransfer(BOB, 41n))).toBe("over-limit");
    expect(await ask(usdc, usdcTransfer(BOB, 40n))).toBe("reserved");
    const fees = limitOf(400n, { asset: "fee" });
    expect(await ask(fees, SAMPLES["bitcoin-transaction"])).toBe("reserved");
    expect(await ask(fees, SAMPLES["bitcoin-transaction"])).toBe("over-limit");
  });

  test("what a call that is not understood moves of its own contract's token, or an account by calling itself, cannot be told", () => {
    const token = { asset: "token", token: USDC } as const;
    const coins = { asset: "value" } as const;
    // DAI's push is a transfer, EIP-3009's transferWithAuthorization another, and what tokens have yet to invent as well.
    const push = Uint8Array.from(Buffer.from(`b753a98c${"00".repeat(64)}`, "hex"));
    const call = (to: string, data: Uint8Array) => ({ to, valueWei: 0n, data });
    const { tokenMoves, data: transfer, from } = usdcTransfer(BOB, 5n);
    const transaction = (to: string, data: Uint8Array) => ({ ...TRANSACTION, ...call(to, data) });
    const operation = (...calls: readonly EvmCall[]) => ({ ...SAMPLES["evm-user-operation"], sender: CAROL, calls });
    expect(amountOf(token, transaction(BOB, push))).toBe(0n);
    for (const unread of [transaction(USDC, push), operation(call(BOB, push), call(USDC, push))]) {
      expect(amountOf(token, unread)).toBeNull();
      expect(amountOf(coins, unread)).toBe(0n);
    }
    const both = { ...operation(call(USDC, transfer), call(USDC, push)), tokenMoves };
    expect(amountOf(token, both)).toBeNull();
    expect(amountOf(token, { ...operation(call(USDC, transfer), call(BOB, push)), tokenMoves })).toBe(5n);
    // EIP-7702 and ERC-7579: the account's own code does whatever the account asks of it.
    for (const own of [transaction(from, push), operation(call(CAROL, push))]) {
      expect(amountOf(token, own)).toBeNull();
      expect(amountOf(coins, own)).toBeNull();
    }
    expect(amountOf(coins, { ...TRANSACTION, to: from })).toBe(TRANSACTION.valueWei);
  });

  test("of several limits each must have room, and where one has none nothing is taken of the others", async () => {
    const world = new World();
    const limits = world.boot();
    const both = [limitOf(5n), limitOf(1n, { asset: "requests" })];
    expect((await limits.reserve(world.request(both))).kind).toBe("reserved");
    expect((await limits.reserve(world.request(both))).kind).toBe("over-limit");
    const facts = { ...TRANSACTION, valueWei: 4n };
    expect((await limits.reserve(world.request([limitOf(5n)], { facts }))).kind).toBe("reserved");
  });

  test("of a rule that others must approve nothing is taken before they have", async () => {
    const world = new World();
    const limits = world.boot();
    const approvals = { of: ["own-passkey"], threshold: 1, expiresS: 60 };
    const levels = [
      { level: "app" as Level, candidates: [rule("app-limit", [limitOf(1n)])] as [AllowRule] },
      { level: "user" as Level, candidates: [rule("by-two", [limitOf(1n)], approvals)] as [AllowRule] },
    ];
    const waiting = await limits.reserve(world.request([], { levels }));
    expect(waiting).toMatchObject({ kind: "needs-approval", needs: [{ level: "user", rule: { id: "by-two" } }] });
    expect(world.parent.records.size).toBe(0);
    const isApproved = (level: Level) => level === "user";
    expect((await limits.reserve(world.request([], { levels, isApproved }))).kind).toBe("reserved");
    expect((await limits.reserve(world.request([], { levels, isApproved }))).kind).toBe("over-limit");
  });
});

describe("a hostile parent", () => {
  async function used(): Promise<{ world: World; limits: Limits; older: StoredRecord }> {
    const world = new World();
    const limits = world.boot();
    await limits.reserve(world.request([limitOf(2n)]));
    const [older] = [...world.parent.records.values()];
    if (older === undefined || !older.name.startsWith(counterRecords.prefix)) throw new Error("no counter");
    await limits.reserve(world.request([limitOf(2n)]));
    return { world, limits, older };
  }

  test("that brings an older counter back, or says that there is none, is found out", async () => {
    const { world, limits, older } = await used();
    const newest = world.parent.records.get(older.name);
    world.parent.records.set(older.name, older);
    await expect(limits.reserve(world.request([limitOf(2n)]))).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    world.parent.records.delete(older.name);
    await expect(limits.reserve(world.request([limitOf(2n)]))).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    if (newest !== undefined) world.parent.records.set(older.name, newest);
    expect((await limits.reserve(world.request([limitOf(2n)]))).kind).toBe("over-limit");
  });

  test("that puts another wallet's counter in its place is found out", async () => {
    const { world, older } = await used();
    const limits = world.boot();
    await limits.reserve(world.request([limitOf(2n)], { walletId: `wal_${"2".repeat(32)}` }));
    const other = [...world.parent.records.values()].find(({ name }) => name !== older.name);
    if (other === undefined) throw new Error("no other counter");
    world.parent.records.set(older.name, { ...other, name: older.name });
    await expect(limits.reserve(world.request([limitOf(2n)]))).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
  });

  test("that answers conflicts for ever gets nothing signed, and an end", async () => {
    const world = new World();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "limit/x" } : act());
    const asked = Array.from({ length: 100 }, () => world.boot().reserve(world.request([limitOf(2n)])));
    for (const outcome of await Promise.allSettled(asked)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "RECORD_CONFLICT" } });
    }
  });

  test("that says it wrote and did not is found out by the next request", async () => {
    const world = new World();
    const limits = world.boot();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    expect((await limits.reserve(world.request([limitOf(1n)]))).kind).toBe("reserved");
    await expect(limits.reserve(world.request([limitOf(1n)]))).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });
});
