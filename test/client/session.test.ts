/** Sessions that renew themselves, against an enclave of the simulator's; time moves as the tests say. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, connect, generateStampKey, memoryStore, Session } from "../../client/index.ts";
import { fileStore } from "../../client-node/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createPasskeyApp, passkeyOf, registerPasskey } from "../support/account.ts";
import { AUDIENCE, createApp, logIn } from "../support/app.ts";
import { Authenticator } from "../support/authenticator.ts";

let simulator: Simulator;
let client: Client;
let appId: string;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  simulator = await startSimulator();
  client = await simulator.connect();
  appId = await createApp(simulator, client, { sessionLifetimeS: 600 });
});
afterAll(async () => {
  await simulator.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Whoever counts how often the issuer is asked. */
function tokensFor(subject: string) {
  const asked: string[] = [];
  return {
    asked,
    token: (nonce: string) => {
      asked.push(nonce);
      return simulator.issuer.mint({ subject, audience: AUDIENCE, nonce, lifetimeS: 3600 });
    },
  };
}

/** As time passes for a client that stays: its clock goes on with the enclave's. */
async function pass(ms: number): Promise<void> {
  await simulator.advanceClock(ms);
  client = await simulator.connect();
}

describe("a session", () => {
  test("is renewed under another key before it ends, once for all who ask, and keeps user and wallets", async () => {
    const { asked, token } = tokensFor("alice");
    const store = memoryStore();
    const session = await Session.login(client, { appId, token, store });
    const { sessionId, userId } = session;
    const wallet = await session.createWallet({ kind: "single-key" });
    expect(asked).toHaveLength(1);
    await pass(550_000);
    const resumed = await Session.login(client, { appId, token, store });
    expect(resumed.sessionId).toBe(sessionId);
    expect(asked).toHaveLength(1);
    const pages = await Promise.all(Array.from({ length: 8 }, () => resumed.listWallets()));
    expect(asked).toHaveLength(2);
    expect(new Set(asked).size).toBe(2);
    expect(resumed.sessionId).not.toBe(sessionId);
    expect(resumed.userId).toBe(userId);
    for (const page of pages) expect(page.wallets).toEqual([wallet]);
    const { sessions } = await resumed.listSessions();
    expect(sessions.map((each) => each.sessionId)).toEqual([resumed.sessionId]);
    expect(resumed.expiresAtMs - client.nowMs()).toBeGreaterThan(590_000);
  });

  test("that has ended is followed by a new one, with the scope that was asked for", async () => {
    const { asked, token } = tokensFor("bob");
    const scope = { operations: ["list_wallets" as const], wallets: null, chains: null };
    const session = await Session.login(client, { appId, token, scope, lifetimeS: 60 });
    // Only the enclave's clock moves: the client still believes in its session.
    await simulator.advanceClock(61_000);
    await session.listWallets();
    expect(asked).toHaveLength(2);
    await expect(session.createWallet({ kind: "hd" })).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
    client = await simulator.connect();
  });

  test("goes on while the issuer is away, and not longer than it lasts", async () => {
    const { token } = tokensFor("carol");
    let away = false;
    const store = memoryStore();
    const options = {
      appId,
      store,
      token: (nonce: string) => (away ? Promise.reject(new Error("issuer away")) : token(nonce)),
    };
    await Session.login(client, options);
    away = true;
    await pass(560_000);
    const session = await Session.login(client, options);
    await session.listWallets();
    await simulator.advanceClock(60_000);
    await expect(session.listWallets()).rejects.toThrow("issuer away");
    away = false;
    await session.listWallets();
    client = await simulator.connect();
  });

  test("that was revoked elsewhere is not brought back behind its user's back", async () => {
    const { asked, token } = tokensFor("dave");
    const one = await Session.login(client, { appId, token });
    const two = await Session.login(client, { appId, token });
    await one.revokeSession({ sessionId: two.sessionId });
    await expect(two.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    expect(asked).toHaveLength(2);
  });

  test("goes on over a restart of the program, from a file, and ends when it logs out", async () => {
    const { asked, token } = tokensFor("erin");
    const store = fileStore(join(folder, "session"), { passphrase: null });
    const first = await Session.login(client, { appId, token, store });
    const second = await Session.login(await simulator.connect(), { appId, token, store });
    expect(second.sessionId).toBe(first.sessionId);
    await second.listWallets();
    // Of another app it is none.
    const other = await createApp(simulator, client, { name: "other" });
    const elsewhere = await Session.login(client, { appId: other, token, store: memoryStore() });
    expect(elsewhere.sessionId).not.toBe(first.sessionId);
    await second.logOut();
    expect(await store.load()).toBeNull();
    await expect(first.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    expect(asked).toHaveLength(2);
  });

  test("survives an enclave that is started anew: it is sealed to again, and stamped again", async () => {
    const { token } = tokensFor("frank");
    const session = await Session.login(client, { appId, token });
    await simulator.killEnclave();
    await simulator.startEnclave();
    await session.listWallets();
    const again = await Session.login(client, { appId, token });
    await again.revokeAllSessions();
    await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
  });
});

/** A way to the enclave that its answers to sealed requests, and so to logins, do not always come back by. */
class Relay {
  /** So many answers are lost from now on. */
  lose = 0;
  /** Answers wait for this. */
  held: Promise<void> = Promise.resolve();
  /** Called when a request has been acted on. */
  acted: () => void = () => {};

  connect(): Promise<Client> {
    const { url, deployment, expected } = simulator;
    const relayed: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!String(input).endsWith("/v1/sealed")) return response;
      this.acted();
      await this.held;
      if (this.lose > 0) {
        this.lose -= 1;
        throw new TypeError("the connection was cut");
      }
      return response;
    };
    return connect({ url, deployment, expected, nowMs: () => simulator.nowMs(), fetch: relayed, attempts: 1 });
  }
}

/** The ids of a user's live sessions, as another session of theirs sees them. */
async function othersOf(token: (nonce: string) => Promise<string>): Promise<string[]> {
  const { sessions } = await (await Session.login(client, { appId, token })).listSessions();
  return sessions.filter(({ isCurrent }) => !isCurrent).map(({ sessionId }) => sessionId);
}

describe("logging out", () => {
  test.each([
    ["about to end", 550_000],
    ["that has ended", 601_000],
  ])("of a session %s ends it without beginning another", async (_which, ms) => {
    const { asked, token } = tokensFor(`out-${ms}`);
    const store = memoryStore();
    await Session.login(client, { appId, token, store });
    const stored = await store.load();
    if (stored === null) throw new Error("nothing was stored");
    await pass(ms);
    // Resumed, so that its client knows the time; and one that has ended since then.
    const load = async () => ({ ...stored, expiresAtMs: Math.max(stored.expiresAtMs, client.nowMs() + 1_000) });
    const session = await Session.login(client, { appId, token, store: { ...store, load } });
    await session.logOut();
    expect(asked).toHaveLength(1);
    expect(await store.load()).toBeNull();
    expect(await othersOf(token)).toEqual([]);
  });

  test("of a session that the enclave knows to have ended, or to be revoked, is done", async () => {
    const { asked, token } = tokensFor("out-of-time");
    const store = memoryStore();
    const late = await Session.login(client, { appId, token, store, lifetimeS: 60 });
    const revoked = await Session.login(client, { appId, token });
    await late.revokeSession({ sessionId: revoked.sessionId });
    await revoked.logOut();
    // Only the enclave's clock moves.
    await simulator.advanceClock(61_000);
    await late.logOut();
    await late.logOut();
    expect(asked).toHaveLength(2);
    expect(await store.load()).toBeNull();
    await expect(late.listWallets()).rejects.toMatchObject({ code: "SESSION_EXPIRED" });
    expect(asked).toHaveLength(2);
    client = await simulator.connect();
  });

  test("while the issuer is being asked for a renewal's token does not wait for it, and sends none", async () => {
    const { asked, token } = tokensFor("out-before-token");
    const store = memoryStore();
    await Session.login(client, { appId, token, store });
    await pass(550_000);
    const askedAgain = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    const session = await Session.login(client, {
      appId,
      store,
      token: async (nonce) => {
        askedAgain.resolve();
        await answered.promise;
        return token(nonce);
      },
    });
    const listing = session.listWallets();
    await askedAgain.promise;
    await session.logOut();
    expect(await store.load()).toBeNull();
    answered.resolve();
    await expect(listing).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    expect(asked).toHaveLength(2);
    expect(await store.load()).toBeNull();
    expect(await othersOf(token)).toEqual([]);
  });

  test.each([
    ["on its way", 0],
    ["lost", 1],
  ])("while a renewal's answer is %s ends what the renewal gave", async (_where, lose) => {
    const { asked, token } = tokensFor(`out-answer-${lose}`);
    const store = memoryStore();
    await Session.login(client, { appId, token, store });
    await pass(550_000);
    const relay = new Relay();
    const session = await Session.login(await relay.connect(), { appId, token, store });
    const acted = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    Object.assign(relay, { lose, held: released.promise, acted: acted.resolve });
    const listing = session.listWallets().catch(() => undefined);
    await acted.promise;
    const out = session.logOut();
    released.resolve();
    await out;
    await listing;
    expect(asked).toHaveLength(2);
    expect(await store.load()).toBeNull();
    expect(await othersOf(token)).toEqual([]);
  });

  test("clears the store even if nobody can be reached, and can be asked for again", async () => {
    const { token } = tokensFor("out-of-reach");
    const store = memoryStore();
    let away = false;
    const { url, deployment, expected } = simulator;
    const cut: typeof fetch = (input, init) => (away ? Promise.reject(new TypeError("no route")) : fetch(input, init));
    const cutOff = await connect({
      url,
      deployment,
      expected,
      nowMs: () => simulator.nowMs(),
      fetch: cut,
      attempts: 1,
    });
    const session = await Session.login(cutOff, { appId, token, store });
    away = true;
    await expect(session.logOut()).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(await store.load()).toBeNull();
    expect(await othersOf(token)).toEqual([session.sessionId]);
    away = false;
    await session.logOut();
    expect(await othersOf(token)).not.toContain(session.sessionId);
  });
});

describe("a renewal whose answer is lost", () => {
  test("is finished under the same key: by the call that finds its session gone, or by the next", async () => {
    for (const lose of [1, 2]) {
      const { asked, token } = tokensFor(`lost-${lose}`);
      const store = memoryStore();
      const first = await Session.login(client, { appId, token, store });
      await pass(550_000);
      const relay = new Relay();
      const session = await Session.login(await relay.connect(), { appId, token, store });
      relay.lose = lose;
      if (lose === 2) await expect(session.listWallets()).rejects.toMatchObject({ code: "UNREACHABLE" });
      await session.listWallets();
      expect(asked).toHaveLength(2);
      expect(session.sessionId).not.toBe(first.sessionId);
      expect((await store.load())?.sessionId).toBe(session.sessionId);
      expect(await othersOf(token)).toEqual([session.sessionId]);
    }
  });

  test("long ago, when its token and the session before have ended, goes on under the same key", async () => {
    const { token } = tokensFor("lost-long");
    const nonces: string[] = [];
    const store = memoryStore();
    const shortLived = (nonce: string) => {
      nonces.push(nonce);
      return simulator.issuer.mint({ subject: "lost-long", audience: AUDIENCE, nonce, lifetimeS: 700 });
    };
    await Session.login(client, { appId, token, store });
    await pass(550_000);
    const relay = new Relay();
    const session = await Session.login(await relay.connect(), { appId, token: shortLived, store });
    relay.lose = 2;
    await expect(session.listWallets()).rejects.toMatchObject({ code: "UNREACHABLE" });
    await simulator.advanceClock(1_000_000);
    await session.listWallets();
    expect(nonces).toHaveLength(2);
    expect(new Set(nonces).size).toBe(1);
    expect((await store.load())?.sessionId).toBe(session.sessionId);
    client = await simulator.connect();
  });

  test("and that was revoked elsewhere is not brought back", async () => {
    const { asked, token } = tokensFor("lost-revoked");
    const store = memoryStore();
    await Session.login(client, { appId, token, store });
    await pass(550_000);
    const relay = new Relay();
    const session = await Session.login(await relay.connect(), { appId, token, store });
    relay.lose = 2;
    await expect(session.listWallets()).rejects.toMatchObject({ code: "UNREACHABLE" });
    const other = await Session.login(client, { appId, token });
    for (const { sessionId, isCurrent } of (await other.listSessions()).sessions) {
      if (!isCurrent) await other.revokeSession({ sessionId });
    }
    await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    expect(asked).toHaveLength(4);
    expect((await other.listSessions()).sessions).toHaveLength(1);
  });

  test("is finished as well where the store could not keep it", async () => {
    const { asked, token } = tokensFor("lost-store");
    const store = memoryStore();
    await Session.login(client, { appId, token, store });
    await pass(550_000);
    let full = 2;
    const failing = {
      ...store,
      save: (saved: Parameters<typeof store.save>[0]) => {
        full -= 1;
        return full >= 0 ? Promise.reject(new Error("disk full")) : store.save(saved);
      },
    };
    const session = await Session.login(client, { appId, token, store: failing });
    await expect(session.listWallets()).rejects.toThrow("disk full");
    await session.listWallets();
    expect(asked).toHaveLength(2);
    expect((await store.load())?.sessionId).toBe(session.sessionId);
  });
});

describe("logins with a scope and a lifetime", () => {
  const limits = {
    scope: { operations: ["list_sessions" as const], wallets: null, chains: null },
    lifetimeS: 60,
  };

  async function expectLimited(session: Session): Promise<void> {
    const { sessions } = await session.listSessions();
    const own = sessions.find(({ isCurrent }) => isCurrent);
    expect(own?.scope).toEqual(limits.scope);
    expect((own?.expiresAtMs ?? 0) - (own?.createdAtMs ?? 0)).toBe(60_000);
    await expect(session.listWallets()).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
  }

  test("get such a session, by a token and by a passkey", async () => {
    const passkeyApp = await createPasskeyApp(simulator, client);
    const alice = await logIn(simulator, client, passkeyApp, "alice");
    const authenticator = new Authenticator("ES256", { counts: true });
    await registerPasskey({ client, appId: passkeyApp, ...alice }, authenticator);
    const { jwt, key } = alice;
    await expectLimited(await client.login({ appId: passkeyApp, jwt, key, ...limits }));
    const passkey = passkeyOf(authenticator);
    const later = await generateStampKey();
    await expectLimited(await client.loginWithPasskey({ appId: passkeyApp, key: later, passkey, ...limits }));
  });

  test("by a passkey are stored and gone on with, without asking again, until they log out", async () => {
    const passkeyApp = await createPasskeyApp(simulator, client);
    const alice = await logIn(simulator, client, passkeyApp, "alice");
    const authenticator = new Authenticator("ES256", { counts: true });
    await registerPasskey({ client, appId: passkeyApp, ...alice }, authenticator);
    const used = passkeyOf(authenticator);
    let asked = 0;
    const passkey = {
      stamp: (body: Uint8Array<ArrayBuffer>) => {
        asked += 1;
        return used.stamp(body);
      },
    };
    const store = fileStore(join(folder, "by-passkey"), { passphrase: null });
    const logInByPasskey = async (changes: object = {}) =>
      Session.loginWithPasskey(await simulator.connect(), { appId: passkeyApp, passkey, store, ...changes });
    const first = await logInByPasskey();
    const second = await logInByPasskey();
    expect([second.sessionId, second.userId, asked]).toEqual([first.sessionId, alice.session.userId, 1]);
    await second.listWallets();
    await second.logOut();
    expect(await store.load()).toBeNull();
    await expect(first.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    await expectLimited(await logInByPasskey(limits));
    expect(asked).toBe(2);
  });
});
