/** Sessions that renew themselves, against an enclave of the simulator's; time moves as the tests say. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, memoryStore, Session } from "../../client/index.ts";
import { fileStore } from "../../client-node/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { AUDIENCE, createApp } from "../support/app.ts";

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
