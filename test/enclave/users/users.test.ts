/** One user's record through many hands, and identities that are taken away: nobody falls back onto a user of before. */
import { beforeEach, describe, expect, test } from "vitest";
import { Sessions } from "../../../enclave/auth/sessions.ts";
import type { VerifiedLogin } from "../../../enclave/auth/verify-jwt.ts";
import { type Identity, identityRecords, type User } from "../../../enclave/users/user.ts";
import type { Users } from "../../../enclave/users/users.ts";
import { change, type Records } from "../../../enclave/vault/records.ts";
import { type Stamp, type StoredRecord, WHOLE_SCOPE } from "../../../protocol/index.ts";
import { bootParts } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const APP = "app_1";
const ALICE: Identity = { issuer: "https://one.example", subject: "alice" };
const ALSO_ALICE: Identity = { issuer: "https://two.example", subject: "a" };
const NOW = 1_790_000_000_000;
const rolledBack = { code: "RECORD_ROLLED_BACK" };

interface Enclave {
  readonly records: Records;
  readonly users: Users;
  readonly sessions: Sessions;
}

let parent: MemoryParent;
let enclave: Enclave;
beforeEach(async () => {
  parent = new MemoryParent();
  enclave = await boot();
});

async function boot(): Promise<Enclave> {
  const parts = await bootParts(parent, () => NOW);
  return { records: parts.records, users: parts.users, sessions: new Sessions(parts) };
}

const userIdOf = (identity: Identity, { users } = enclave) =>
  users.changeByIdentity(APP, identity, (user, userId) => ({ kind: "write", user, result: userId }));

/** As a link between two identities is made: both records or none. */
async function link(userId: string, identity: Identity): Promise<void> {
  const { users, records } = enclave;
  const identityId = users.identityIdOf(APP, identity);
  await users.change(APP, userId, async (user) => {
    const read = await records.read(identityRecords, `${APP}/${identityId}`);
    const identities = [...user.identities, { identityId, ...identity, linkedAtMs: NOW }];
    const also = [change(identityRecords, `${APP}/${identityId}`, read, { userId })];
    return { kind: "write", user: { ...user, identities }, also, result: undefined };
  });
}

async function unlink(userId: string, identity: Identity): Promise<void> {
  const { users, records } = enclave;
  const identityId = users.identityIdOf(APP, identity);
  await users.change(APP, userId, async (user) => {
    const read = await records.read(identityRecords, `${APP}/${identityId}`);
    const identities = user.identities.filter((each) => each.identityId !== identityId);
    const also = [change(identityRecords, `${APP}/${identityId}`, read, undefined)];
    return { kind: "write", user: { ...user, identities }, also, result: undefined };
  });
}

const recordOf = (identity: Identity) => `identity/${APP}/${enclave.users.identityIdOf(APP, identity)}`;

describe("an identity", () => {
  test("leads to one user, from its first login on and over a restart", async () => {
    const userId = await userIdOf(ALICE);
    expect(userId).toMatch(/^usr_[0-9a-f]{32}$/);
    expect(await userIdOf(ALICE)).toBe(userId);
    expect(await userIdOf(ALICE, await boot())).toBe(userId);
    expect(await userIdOf(ALSO_ALICE)).not.toBe(userId);
  });

  test("leads to one user however many first logins run at once", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => userIdOf(ALICE)));
    expect(new Set(all).size).toBe(1);
    expect([...parent.records.keys()].filter((name) => name.startsWith("user/"))).toHaveLength(1);
  });

  test("that is linked logs into the same user; once unlinked, into a new one and never back", async () => {
    const userId = await userIdOf(ALICE);
    await link(userId, ALSO_ALICE);
    expect(await userIdOf(ALSO_ALICE)).toBe(userId);
    await unlink(userId, ALICE);
    const next = await userIdOf(ALICE);
    expect(next).not.toBe(userId);
    expect(await userIdOf(ALSO_ALICE)).toBe(userId);
    // What it was linked to first it can be linked to again, by that user alone.
    await unlink(userId, ALSO_ALICE);
    expect(await userIdOf(ALSO_ALICE)).not.toBe(userId);
  });

  test("does not fall back by any one record that a parent brings back, keeps back or takes away after a restart", async () => {
    const userId = await userIdOf(ALICE);
    await link(userId, ALSO_ALICE);
    const linked = parent.records.get(recordOf(ALICE)) as StoredRecord;
    await unlink(userId, ALICE);
    // The link of before, in the place of none.
    parent.records.set(linked.name, linked);
    await expect(userIdOf(ALICE, await boot())).rejects.toMatchObject(rolledBack);
    // None at all: a new user, who has nothing of the old one's.
    parent.records.delete(linked.name);
    const fresh = await userIdOf(ALICE, await boot());
    expect(fresh).not.toBe(userId);
    // A lost user is not made anew under the id that wallets are kept under.
    parent.records.delete(`user/${APP}/${userId}`);
    await expect(userIdOf(ALSO_ALICE, await boot())).rejects.toMatchObject(rolledBack);
    parent.records.delete(recordOf(ALSO_ALICE));
    expect(await userIdOf(ALSO_ALICE, await boot())).not.toBe(userId);
  });

  test("while the enclave lives, leads nowhere that it was seen not to lead any more", async () => {
    const userId = await userIdOf(ALICE);
    await link(userId, ALSO_ALICE);
    const linked = parent.records.get(recordOf(ALICE)) as StoredRecord;
    await unlink(userId, ALICE);
    parent.records.set(linked.name, linked);
    await expect(userIdOf(ALICE)).rejects.toMatchObject(rolledBack);
  });
});

describe("changes of one user", () => {
  const count = (users: Users, userId: string, by = 1) =>
    users.change(APP, userId, (user) => {
      return { kind: "write", user: { ...user, loginsAfterMs: user.loginsAfterMs + by }, result: user.loginsAfterMs };
    });

  test("all count, however many are made at once", async () => {
    const userId = await userIdOf(ALICE);
    const seen = await Promise.all(Array.from({ length: 30 }, () => count(enclave.users, userId)));
    expect([...seen].sort((one, two) => one - two)).toEqual(Array.from({ length: 30 }, (_, at) => at));
    expect((await enclave.users.get(APP, userId))?.loginsAfterMs).toBe(30);
  });

  test("are decided on again if another enclave's came between, and given up in the end", async () => {
    const userId = await userIdOf(ALICE);
    const other = await boot();
    let interruptions = 1;
    const slow = () =>
      enclave.users.change(APP, userId, async (user) => {
        if (interruptions > 0) await count(other.users, userId, 10);
        interruptions -= 1;
        return { kind: "write", user: { ...user, loginsAfterMs: user.loginsAfterMs + 1 }, result: undefined };
      });
    await slow();
    expect((await enclave.users.get(APP, userId))?.loginsAfterMs).toBe(11);
    interruptions = Number.POSITIVE_INFINITY;
    await expect(slow()).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
  });

  test("make their related records with them, or none of it", async () => {
    const userId = await userIdOf(ALICE);
    const before = new Map(parent.records);
    const broken = enclave.users.change(APP, userId, async (user) => {
      // A record that is said not to be there, and is.
      const also = [change(identityRecords, recordOf(ALICE).slice("identity/".length), null, { userId: "usr_other" })];
      return { kind: "write", user: { ...user, loginsAfterMs: 1 }, also, result: undefined };
    });
    await expect(broken).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
    expect(parent.records).toEqual(before);
  });

  test("that refuse leave everything as it was", async () => {
    const userId = await userIdOf(ALICE);
    const before = new Map(parent.records);
    const refused = enclave.users.change(APP, userId, () => Promise.reject(new Error("no")));
    await expect(refused).rejects.toThrow("no");
    expect(parent.records).toEqual(before);
    await count(enclave.users, userId);
  });
});

describe("sessions", () => {
  const stampOf = (last: number): Stamp => ({
    scheme: "SIGNATURE_SCHEME_TK_API_P256",
    publicKey: Uint8Array.from([2, ...new Uint8Array(31), last]),
    signature: new Uint8Array(70),
  });
  const login: VerifiedLogin = { ...ALICE, issuedAtMs: NOW, expiresAtMs: NOW + 3_600_000 };
  const register = (last: number, changes: Partial<VerifiedLogin> = {}) =>
    enclave.sessions.register(
      APP,
      stampOf(last),
      { ...login, ...changes },
      { lifetimeMs: 900_000, scope: WHOLE_SCOPE },
    );

  test("are ten at most; the oldest goes, and what led to it goes by itself in its time", async () => {
    for (let last = 0; last < 11; last += 1) await register(last);
    await expect(enclave.sessions.find(APP, stampOf(0))).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    for (let last = 1; last < 11; last += 1) await enclave.sessions.find(APP, stampOf(last));
    const pointers = [...parent.records.values()].filter(({ name }) => name.startsWith("session/"));
    expect(pointers).toHaveLength(11);
    for (const { expiresAtMs } of pointers) expect(expiresAtMs).toBeGreaterThan(0);
  });

  test("are not brought back by what leads to them", async () => {
    const { userId } = await register(1);
    const pointers = [...parent.records.values()].filter(({ name }) => name.startsWith("session/"));
    await enclave.sessions.revoke(APP, userId, "all");
    for (const pointer of pointers) parent.records.set(pointer.name, pointer);
    // After a restart the enclave has no memory of the deletion; the user's list still does not name the session.
    const next = await boot();
    await expect(next.sessions.find(APP, stampOf(1))).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
  });

  test("are refused while their revocation is on its way back, as soon as it is known", async () => {
    const { userId } = await register(1);
    await enclave.sessions.find(APP, stampOf(1));
    const finds = Array.from({ length: 50 }, async () => enclave.sessions.find(APP, stampOf(1)).catch(() => null));
    await Promise.all([enclave.sessions.revoke(APP, userId, "all"), ...finds]);
    await expect(enclave.sessions.find(APP, stampOf(1))).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
  });

  test("of a user with the largest scopes fit into the record", async () => {
    const wallets = Array.from({ length: 16 }, () => `wal_${"f".repeat(32)}`);
    const chains = Array.from({ length: 16 }, () => `eip155:${"9".repeat(32)}`);
    const scope = { operations: null, wallets, chains };
    const subject = "€".repeat(255);
    for (let last = 0; last < 10; last += 1) {
      await enclave.sessions.register(APP, stampOf(last), { ...login, subject }, { lifetimeMs: 1_000, scope });
    }
    const largest = Math.max(...[...parent.records.values()].map(({ value }) => value.length));
    expect(largest).toBeGreaterThan(10_000);
    expect(largest).toBeLessThan(32_768);
  });
});

test("a user's record is known by its fields: what is missing is not made up", async () => {
  const userId = await userIdOf(ALICE);
  const incomplete = { sessions: [], loginsAfterMs: 0 } as unknown as User;
  const changed = enclave.users.change(APP, userId, () => ({ kind: "write", user: incomplete, result: undefined }));
  await expect(changed).rejects.toThrow("a value that is no user/ record");
});
