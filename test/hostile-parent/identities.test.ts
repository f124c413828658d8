/** Linked identities and the events that tell of them, against other users and a parent that withholds and reorders. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type StampKey, verifyEvents } from "../../client/index.ts";
import { decodeEvent, RECORDS_PORT, type StoredRecord } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { createPasskeyApp, enrol, registerPasskey } from "../support/account.ts";
import { AUDIENCE, type LoggedIn, logIn } from "../support/app.ts";
import { Authenticator } from "../support/authenticator.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { codeOf } from "../support/refusals.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;
let home: string;
let work: string;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createPasskeyApp(simulator, client);
});
afterAll(() => simulator.stop());

beforeEach(async () => {
  home = `home-${randomUUID()}`;
  work = `work-${randomUUID()}`;
  alice = await logIn(simulator, client, appId, home);
});
afterEach(() => {
  hostile.hooks.message = undefined;
});

async function tokenFor(subject: string, key: StampKey): Promise<string> {
  return simulator.issuer.mint({ subject, audience: AUDIENCE, nonce: await loginNonce(key) });
}

const linkWork = async (loggedIn = alice) =>
  loggedIn.session.account.linkIdentity(async () => tokenFor(work, loggedIn.key));

describe("a linked identity", () => {
  test("logs into the same user, with the same wallets", async () => {
    const wallet = await alice.session.createWallet({ kind: "single-key" });
    await linkWork();
    const there = await logIn(simulator, client, appId, work);
    expect(there.session.userId).toBe(alice.session.userId);
    expect((await there.session.listWallets()).wallets).toEqual([wallet]);
    const subjects = (await there.session.account.listIdentities()).map(({ subject }) => subject);
    expect(subjects).toEqual([home, work]);
  });

  test("is linked once, however often it is asked for", async () => {
    const first = await linkWork();
    expect(await linkWork()).toEqual(first);
    expect((await alice.session.account.listIdentities()).length).toBe(2);
  });

  test("is not one that the parent overheard: the login is bound to the session's key", async () => {
    const mallory = await logIn(simulator, client, appId, `mallory-${randomUUID()}`);
    const overheard = await tokenFor(work, alice.key);
    expect(await codeOf(mallory.session.account.linkIdentity(async () => overheard))).toBe("JWT_NONCE_MISMATCH");
  });

  test("is not another user's, with wallets or without, and nothing is merged", async () => {
    const bob = await logIn(simulator, client, appId, work);
    expect(await codeOf(linkWork())).toBe("IDENTITY_TAKEN");
    const wallet = await bob.session.createWallet({ kind: "single-key" });
    expect(await codeOf(linkWork())).toBe("IDENTITY_TAKEN");
    expect((await bob.session.listWallets()).wallets).toEqual([wallet]);
    expect((await alice.session.listWallets()).wallets).toEqual([]);
  });

  test("raced by two users becomes one's", async () => {
    const bob = await logIn(simulator, client, appId, `bob-${randomUUID()}`);
    const codes = await Promise.all([codeOf(linkWork(alice)), codeOf(linkWork(bob))]);
    expect(codes.sort()).toEqual(["IDENTITY_TAKEN", "done"]);
  });

  test("has a subject of at most 255 characters, so that eight fit into a record", async () => {
    const token = async (nonce: string) =>
      simulator.issuer.mint({ subject: "s".repeat(256), audience: AUDIENCE, nonce });
    expect(await codeOf(alice.session.account.linkIdentity(token))).toBe("JWT_CLAIM_INVALID");
  });

  test("is one of eight at the most", async () => {
    const { account } = alice.session;
    for (let count = 2; count <= 8; count += 1) {
      await account.linkIdentity(async () => tokenFor(`${work}-${count}`, alice.key));
    }
    expect(await codeOf(linkWork())).toBe("TOO_MANY_IDENTITIES");
  });
});

describe("an unlinked identity", () => {
  test("ends its sessions, and logs in as a new user, never as the old one", async () => {
    await alice.session.createWallet({ kind: "single-key" });
    const { identityId } = await linkWork();
    const there = await logIn(simulator, client, appId, work);
    await alice.session.account.unlinkIdentity(identityId);
    expect(await codeOf(there.session.listWallets())).toBe("SESSION_UNKNOWN");
    const anew = await logIn(simulator, client, appId, work);
    expect(anew.session.userId).not.toBe(alice.session.userId);
    expect((await anew.session.listWallets()).wallets).toEqual([]);
    await alice.session.listWallets();
  });

  test("does not lead back when the parent brings its old record back", async () => {
    const { identityId } = await linkWork();
    let old: StoredRecord | undefined;
    hostile.hooks.message = (port, direction, message) => {
      if (port !== RECORDS_PORT || direction !== "to-enclave" || !("record" in message)) return message;
      if (message.record?.name.endsWith(identityId) === true) old = message.record;
      return message;
    };
    await logIn(simulator, client, appId, work);
    expect(old).toBeDefined();
    await alice.session.account.unlinkIdentity(identityId);
    hostile.hooks.message = (port, direction, message) =>
      port === RECORDS_PORT && direction === "to-enclave" && "record" in message && message.record === null
        ? { ...message, record: old }
        : message;
    expect(await codeOf(logIn(simulator, client, appId, work))).not.toBe("done");
  });

  test("is never the last one: a passkey does not count", async () => {
    await registerPasskey({ client, appId, ...alice }, new Authenticator());
    const [only] = await alice.session.account.listIdentities();
    expect(await codeOf(alice.session.account.unlinkIdentity(only?.identityId ?? ""))).toBe("LAST_IDENTITY");
    const { identityId } = await linkWork();
    const both = [only?.identityId ?? "", identityId];
    const codes = await Promise.all(both.map((id) => codeOf(alice.session.account.unlinkIdentity(id))));
    // The session that asks may be the one that ends.
    expect(codes.filter((code) => code === "done").length).toBe(1);
  });

  test("is one that the user has", async () => {
    const attempt = alice.session.account.unlinkIdentity(`idn_${"0".repeat(32)}`);
    expect(await codeOf(attempt)).toBe("IDENTITY_NOT_FOUND");
  });
});

describe("events", () => {
  test("tell of every change, in a chain that holds", async () => {
    const { account } = alice.session;
    const { identityId } = await linkWork();
    const passkey = await registerPasskey({ client, appId, ...alice }, new Authenticator());
    await account.removePasskey(passkey.passkeyId);
    const { app, recoveryCodes } = await enrol(account, () => simulator.nowMs());
    const [first = "", second = "", third = ""] = recoveryCodes;
    await account.requireTotp({ operations: ["sign_message"] }, app.code());
    await account.regenerateRecoveryCodes(first);
    expect(await codeOf(account.unlinkIdentity(identityId, { secondFactor: second }))).toBe("SECOND_FACTOR_INVALID");
    await account.unlinkIdentity(identityId, { secondFactor: app.code(1) });
    expect(third).not.toBe("");

    const { events, publicKey } = await account.listEvents();
    const verified = await verifyEvents(events, publicKey);
    expect(verified.map(({ kind }) => kind)).toEqual([
      "identity-linked",
      "passkey-registered",
      "passkey-removed",
      "totp-confirmed",
      "totp-required",
      "recovery-code-used",
      "recovery-codes-made",
      "identity-unlinked",
    ]);
    const { userId, sessionId } = alice.session;
    expect(verified[0]).toMatchObject({ seq: 1, appId, userId, by: sessionId, details: { identityId, subject: work } });
    expect(JSON.stringify(events)).not.toContain(first);
  });

  test("are listed by pages, whole, and only to their user", async () => {
    const { account } = alice.session;
    for (let count = 0; count < 9; count += 1) {
      const passkey = await registerPasskey({ client, appId, ...alice }, new Authenticator());
      await account.removePasskey(passkey.passkeyId);
    }
    const { events, publicKey } = await account.listEvents();
    expect((await verifyEvents(events, publicKey)).length).toBe(18);
    expect((await account.listEvents(17)).events).toEqual(events.slice(17));
    expect((await account.listEvents(18)).events).toEqual([]);
    expect((await account.listEvents(1_000_000)).events).toEqual([]);
    const bob = await logIn(simulator, client, appId, `bob-${randomUUID()}`);
    expect((await bob.session.account.listEvents()).events).toEqual([]);
  });

  test("are signed by a key that outlives the boot", async () => {
    await linkWork();
    const before = await alice.session.account.listEvents();
    await simulator.killEnclave();
    await simulator.startEnclave();
    const after = await alice.session.account.listEvents();
    expect(after).toEqual(before);
    await linkAnother();
    const { events, publicKey } = await alice.session.account.listEvents();
    expect(publicKey).toBe(before.publicKey);
    expect((await verifyEvents(events, before.publicKey)).length).toBe(2);
  });

  test("that the parent withholds are missed", async () => {
    await linkWork();
    await linkAnother();
    // After a restart the enclave has seen none of them: the user's record tells how many there are.
    await simulator.killEnclave();
    await simulator.startEnclave();
    const codeWithout = async (seq: number) => {
      hostile.hooks.message = (port, direction, message) => {
        const isRecord = port === RECORDS_PORT && direction === "to-enclave" && "record" in message;
        if (!isRecord || message.record === null || !isEvent(message.record, seq)) return message;
        return { ...message, record: null };
      };
      return codeOf(alice.session.account.listEvents());
    };
    expect(await codeWithout(2)).toBe("RECORD_ROLLED_BACK");
    expect(await codeWithout(1)).toBe("RECORD_ROLLED_BACK");
  });

  test("that the parent gives in another order are not taken", async () => {
    await linkWork();
    await linkAnother();
    await simulator.killEnclave();
    await simulator.startEnclave();
    const stored = new Map<string, StoredRecord>();
    hostile.hooks.message = (_port, _direction, message) => {
      if ("record" in message && message.record !== null && isEvent(message.record)) {
        stored.set(message.record.name, message.record);
      }
      return message;
    };
    const { events } = await alice.session.account.listEvents();
    expect(events.map(({ event }) => decodeEvent(event).seq)).toEqual([1, 2]);
    expect(stored.size).toBe(2);
    await simulator.killEnclave();
    await simulator.startEnclave();
    const [first, second] = [...stored.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    hostile.hooks.message = (port, direction, message) => {
      const isRecord = port === RECORDS_PORT && direction === "to-enclave" && "record" in message;
      if (!isRecord || message.record === null || !isEvent(message.record)) return message;
      const other = message.record.name === first?.name ? second : first;
      return { ...message, record: { ...message.record, value: other?.value } };
    };
    expect(await codeOf(alice.session.account.listEvents())).toBe("RECORD_TAMPERED");
  });

  async function linkAnother(): Promise<void> {
    const key = alice.key;
    await alice.session.account.linkIdentity(async () => tokenFor(`${work}-too`, key));
  }

  function isEvent({ name }: StoredRecord, seq?: number): boolean {
    return name.startsWith("event/") && (seq === undefined || name.endsWith(String(seq).padStart(10, "0")));
  }
});

test("a key of another session is not moved by linking", async () => {
  const key = await generateStampKey();
  const jwt = await tokenFor(work, key);
  expect(await codeOf(alice.session.account.linkIdentity(async () => jwt))).toBe("JWT_NONCE_MISMATCH");
});
