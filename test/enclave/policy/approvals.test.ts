/** How many requests may wait for approval, and when the store may forget them: several enclaves, and a parent that lies. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Actor } from "../../../enclave/auth/actor.ts";
import { eventKeyOf } from "../../../enclave/events/event-key.ts";
import { Events } from "../../../enclave/events/events.ts";
import type { Proposal } from "../../../enclave/policy/approval.ts";
import { Approvals } from "../../../enclave/policy/approvals.ts";
import type { Need } from "../../../enclave/policy/limits.ts";
import { Users } from "../../../enclave/users/users.ts";
import { Ids } from "../../../enclave/vault/ids.ts";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { Records } from "../../../enclave/vault/records.ts";
import { encodeHex, type JsonValue, type RequestEnvelope } from "../../../protocol/index.ts";
import { seededRandomness } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const APP = "app_1";
const SECRET = new Uint8Array(32).fill(7);
const DAY_MS = 24 * 3600_000;
const MAX_OPEN = 100;
const [ASKER, OTHER, APPROVER] = ["02aa", "02bb", "02cc"].map((start) => start.padEnd(66, "0")) as [
  string,
  string,
  string,
];

function apiKey(keyId: string): Actor {
  return { kind: "api-key", appId: APP, keyId, scope: { operations: [], wallets: null, chains: null } };
}

class World {
  readonly parent = new MemoryParent();
  nowMs = Date.parse("2026-01-07T12:00:00Z");

  async boot(): Promise<Approvals> {
    const nowMs = () => this.nowMs;
    const cipher = new RecordCipher(SECRET, { deployment: "test", generation: 1 });
    const records = new Records(new RecordStore(this.parent.vsock), cipher, undefined, nowMs);
    const ids = new Ids(SECRET);
    const randomness = await seededRandomness();
    const users = new Users({ records, ids, randomness, nowMs });
    const events = new Events({ records, key: eventKeyOf(ids), deployment: "test", nowMs });
    return new Approvals({ records, ids, users, events, nowMs });
  }

  waiting(): string[] {
    return [...this.parent.records.keys()].filter((name) => name.startsWith("approval/"));
  }
}

function proposal(keyId = ASKER, params: Record<string, JsonValue> = {}, requestId: string = randomUUID()): Proposal {
  const envelope = { operation: "sign_message", requestId, params } as unknown as RequestEnvelope;
  return { actor: apiKey(keyId), envelope, policies: { app: "00".repeat(32) } };
}

const NEEDS: readonly Need[] = [
  {
    level: "app",
    rule: { id: "by-one", effect: "allow", when: [], approvals: { of: [APPROVER], threshold: 1, expiresS: 600 } },
  },
];

async function ask(
  approvals: Approvals,
  asked: Proposal = proposal(),
): Promise<{ approvalId: string; digest: string }> {
  const { code, details } = await approvals.propose(asked, NEEDS);
  expect(code).toBe("APPROVAL_REQUIRED");
  return details as { approvalId: string; digest: string };
}

async function approve(approvals: Approvals, { approvalId, digest }: Awaited<ReturnType<typeof ask>>): Promise<void> {
  await approvals.approve(apiKey(APPROVER), randomUUID(), approvalId, Uint8Array.from(Buffer.from(digest, "hex")));
}

async function collect(approvals: Approvals, asked: Proposal, approvalId: string): Promise<void> {
  const collecting: Proposal = { ...asked, envelope: { ...asked.envelope, requestId: randomUUID() } };
  await approvals.collect(collecting, await approvals.collectable(collecting, approvalId));
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    ({ code }: { readonly code: string }) => code,
  );

async function fill(approvals: Approvals): Promise<{ approvalId: string; digest: string; asked: Proposal }[]> {
  const all = Array.from({ length: MAX_OPEN }, (_, at) => proposal(ASKER, { at }));
  return await Promise.all(all.map(async (asked) => ({ ...(await ask(approvals, asked)), asked })));
}

describe("of requests that wait", () => {
  test("TOO_MANY_APPROVALS: one more than there is room for is refused, and others are not kept from theirs", async () => {
    const world = new World();
    const approvals = await world.boot();
    const [first] = await fill(approvals);
    expect(await codeOf(approvals.propose(proposal(), NEEDS))).toBe("TOO_MANY_APPROVALS");
    expect(world.waiting()).toHaveLength(MAX_OPEN);
    // Asked again, what waits is found; and by another boot all of them count as before.
    if (first === undefined) throw new Error("nothing waits");
    expect((await ask(approvals, first.asked)).approvalId).toBe(first.approvalId);
    expect(await codeOf((await world.boot()).propose(proposal(), NEEDS))).toBe("TOO_MANY_APPROVALS");
    await ask(approvals, proposal(OTHER));
  });

  test("a place is free again once its request was collected, or rejected by somebody else, or has expired", async () => {
    const world = new World();
    const approvals = await world.boot();
    const [one, two, three] = await fill(approvals);
    if (one === undefined || two === undefined || three === undefined) throw new Error("nothing waits");
    const isFull = async () => (await codeOf(approvals.propose(proposal(), NEEDS))) === "TOO_MANY_APPROVALS";
    // Else a bound would be none: who asks would take back, and ask again.
    await approvals.reject(apiKey(ASKER), one.approvalId);
    expect(await isFull()).toBe(true);
    await approvals.reject(apiKey(APPROVER), two.approvalId);
    await ask(approvals);
    await approve(approvals, three);
    expect(await isFull()).toBe(true);
    await collect(approvals, three.asked, three.approvalId);
    await ask(approvals);
    expect(await isFull()).toBe(true);
    world.nowMs += 600_000;
    await fill(approvals);
  });

  test("asked for at several enclaves at once there are never more than there is room for", async () => {
    const world = new World();
    const enclaves = [await world.boot(), await world.boot(), await world.boot()];
    const outcomes = await Promise.all(
      Array.from({ length: 3 * MAX_OPEN }, async (_, at) => {
        const enclave = enclaves[at % 3] ?? (await world.boot());
        const { code } = await enclave
          .propose(proposal(ASKER, { at }), NEEDS)
          .catch((error: { code: string }) => error);
        return code;
      }),
    );
    // The rest were one too many, or collided too often.
    for (const code of outcomes) expect(["APPROVAL_REQUIRED", "TOO_MANY_APPROVALS", "RECORD_CONFLICT"]).toContain(code);
    const made = outcomes.filter((code) => code === "APPROVAL_REQUIRED").length;
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThanOrEqual(MAX_OPEN);
    expect(world.waiting()).toHaveLength(made);
  });

  test("collected at once, all of one asker's give their places back", async () => {
    const world = new World();
    const approvals = await world.boot();
    const all = await fill(approvals);
    for (const each of all) await approve(approvals, each);
    await Promise.all(all.map(({ asked, approvalId }) => collect(approvals, asked, approvalId)));
    await fill(approvals);
  });

  test("erased with whoever asked, the count is as well", async () => {
    const world = new World();
    const approvals = await world.boot();
    await fill(approvals);
    await approvals.erase(APP, ASKER);
    expect(await approvals.heldOn(APP, ASKER, null)).toMatchObject({ approvals: [] });
    await fill(approvals);
  });
});

describe("a record of one that has had its time", () => {
  test("may go a day later, and says so; a store that drops it before is found out", async () => {
    const world = new World();
    const approvals = await world.boot();
    const { approvalId } = await ask(approvals);
    const name = `approval/${APP}/${approvalId}`;
    const stored = world.parent.records.get(name);
    if (stored === undefined) throw new Error("nothing was stored");
    expect(stored.expiresAtMs).toBe(world.nowMs + 600_000 + DAY_MS);
    expect(world.parent.records.get(`waiting/${APP}/${ASKER}`)?.expiresAtMs).toBe(world.nowMs + 600_000);
    world.parent.records.delete(name);
    world.nowMs += 600_000 + DAY_MS - 1;
    expect(await codeOf(approvals.get(apiKey(ASKER), approvalId))).toBe("RECORD_ROLLED_BACK");
    world.nowMs += 1;
    expect(await codeOf(approvals.get(apiKey(ASKER), approvalId))).toBe("APPROVAL_NOT_FOUND");
  });

  test("is there for whoever asks again for what it let through, and for what became of it", async () => {
    const world = new World();
    const approvals = await world.boot();
    const asked = proposal();
    const waiting = await ask(approvals, asked);
    await approve(approvals, waiting);
    const collecting: Proposal = { ...asked, envelope: { ...asked.envelope, requestId: randomUUID() } };
    const { approvalId } = waiting;
    await approvals.collect(collecting, await approvals.collectable(collecting, approvalId));
    world.nowMs += 601_000;
    await approvals.collect(collecting, await approvals.collectable(collecting, approvalId));
    const value = await approvals.get(apiKey(ASKER), approvalId);
    expect(approvals.view(approvalId, value)).toMatchObject({ state: "collected", digest: encodeHex(value.digest) });
  });

  test("brought back by the parent as it was, approved and not collected, collects nothing", async () => {
    const world = new World();
    const approvals = await world.boot();
    const asked = proposal();
    const waiting = await ask(approvals, asked);
    await approve(approvals, waiting);
    const name = `approval/${APP}/${waiting.approvalId}`;
    const approved = world.parent.records.get(name);
    if (approved === undefined) throw new Error("nothing was stored");
    await collect(approvals, asked, waiting.approvalId);
    world.parent.records.set(name, approved);
    expect(await codeOf(collect(approvals, asked, waiting.approvalId))).toBe("RECORD_ROLLED_BACK");
    // From here on nothing that this enclave remembers of the record speaks against it; its time does.
    world.nowMs += 600_000 + DAY_MS;
    expect(await codeOf(collect(approvals, asked, waiting.approvalId))).toBe("APPROVAL_EXPIRED");
    expect(await codeOf(collect(await world.boot(), asked, waiting.approvalId))).toBe("APPROVAL_EXPIRED");
  });

  test("a count that the parent withholds, or brings back from before, is missed", async () => {
    const world = new World();
    const approvals = await world.boot();
    await ask(approvals);
    const name = `waiting/${APP}/${ASKER}`;
    const early = world.parent.records.get(name);
    if (early === undefined) throw new Error("nothing was stored");
    await ask(approvals);
    world.parent.records.set(name, early);
    expect(await codeOf(approvals.propose(proposal(), NEEDS))).toBe("RECORD_ROLLED_BACK");
    world.parent.records.delete(name);
    expect(await codeOf(approvals.propose(proposal(), NEEDS))).toBe("RECORD_ROLLED_BACK");
  });
});
