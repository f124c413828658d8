/** Sessions that ended, scopes, apps side by side, administrators who disagree: with a parent that helps the wrong side. */
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type StampKey } from "../../client/index.ts";
import { encodeHex, type JsonValue, type Scope } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createPasskeyApp, passkeyOf, registerPasskey } from "../support/account.ts";
import { AUDIENCE, appParams, createApp, type LoggedIn, logIn } from "../support/app.ts";
import { apiKeyOf, generateKeyOf } from "../support/app-requests.ts";
import { Authenticator } from "../support/authenticator.ts";
import { post, type RawAnswer, requestBody, send, stampOf } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

let simulator: Simulator;
let client: Client;
let appId: string;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  appId = await createApp(simulator, client, { signingPolicy: { evmChainIds: ["1", "10"], messages: "allow" } });
});
afterAll(() => simulator.stop());

async function ask(key: StampKey, operation: string, params: JsonValue, inApp = appId): Promise<RawAnswer> {
  return send(simulator, requestBody(simulator, { operation, appId: inApp, params }), key);
}

async function logInAs(subject: string, params: object = {}): Promise<StampKey> {
  const key = await generateStampKey();
  const jwt = await simulator.issuer.mint({ subject, audience: AUDIENCE, nonce: await loginNonce(key) });
  const answer = await ask(key, "register_session", { jwt, ...params } as JsonValue);
  expect(answer.code).toBeNull();
  return key;
}

describe("the parent's clock", () => {
  test("moved does not make an old token good again, nor a session that has ended", async () => {
    const short = await createApp(simulator, client, { sessionLifetimeS: 30 });
    const key = await generateStampKey();
    const jwt = await simulator.issuer.mint({
      ...{ subject: "late", audience: AUDIENCE, nonce: await loginNonce(key), lifetimeS: 60 },
    });
    const { session } = await logIn(simulator, client, short, "late");
    // The parent's and the enclave's own wall clocks stay behind by this: to them the token is still good.
    await simulator.advanceClock(120_000);
    client = await simulator.connect();
    expect((await ask(key, "register_session", { jwt })).code).toBe("JWT_EXPIRED");
    await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_EXPIRED" });
  });
});

describe("a session that was revoked", () => {
  test("is refused at its very next request, and so is its user's every other after all were", async () => {
    const [first, second, third] = [await logInAs("erin"), await logInAs("erin"), await logInAs("erin")];
    const listed = (await ask(first, "list_sessions", {})).result as {
      sessions: { sessionId: string; isCurrent: boolean }[];
    };
    expect(listed.sessions.map(({ isCurrent }) => isCurrent)).toEqual([true, false, false]);
    const sessionId = listed.sessions[1]?.sessionId ?? "";
    // In use, and so in the enclave's memory.
    expect((await ask(second, "list_wallets", { after: null })).code).toBeNull();
    expect((await ask(first, "revoke_session", { sessionId })).result).toEqual({ isRevoked: true });
    expect((await ask(second, "list_wallets", { after: null })).code).toBe("SESSION_UNKNOWN");
    expect((await ask(first, "revoke_session", { sessionId })).result).toEqual({ isRevoked: false });
    expect((await ask(third, "revoke_all_sessions", {})).result).toEqual({ revoked: 2 });
    for (const key of [first, second, third]) {
      expect((await ask(key, "list_wallets", { after: null })).code).toBe("SESSION_UNKNOWN");
    }
  });

  test("is not brought back by the older records of a parent, while the enclave lives", async () => {
    const [thief, owner] = [await logInAs("frank"), await logInAs("frank")];
    const database = new DatabaseSync(simulator.recordsFile);
    try {
      const rows = database.prepare("SELECT name, version, value FROM records").all() as unknown as {
        name: string;
        version: number;
        value: Uint8Array;
      }[];
      expect((await ask(owner, "revoke_all_sessions", {})).code).toBeNull();
      expect((await ask(thief, "list_wallets", { after: null })).code).toBe("SESSION_UNKNOWN");
      for (const { name, version, value } of rows) {
        database
          .prepare("INSERT OR REPLACE INTO records (name, version, value) VALUES (?, ?, ?)")
          .run(name, version, value);
      }
      // The record of the user is older than the enclave has seen; nobody is let in on its word.
      expect((await ask(thief, "list_wallets", { after: null })).code).toBe("RECORD_ROLLED_BACK");
      expect((await ask(owner, "list_wallets", { after: null })).code).toBe("RECORD_ROLLED_BACK");
    } finally {
      database.close();
    }
  });

  test("cannot be followed by a login with the token of before", async () => {
    const key = await generateStampKey();
    const jwt = await simulator.issuer.mint({ subject: "grace", audience: AUDIENCE, nonce: await loginNonce(key) });
    expect((await ask(key, "register_session", { jwt })).code).toBeNull();
    expect((await ask(key, "revoke_all_sessions", {})).code).toBeNull();
    expect((await ask(key, "register_session", { jwt })).code).toBe("JWT_REVOKED");
    // The issuer's times are whole seconds, and its clock may be five ahead.
    await simulator.advanceClock(6_000);
    await logInAs("grace");
  });

  test("cannot be followed by a login with a token of before that its issuer dated ahead", async () => {
    const key = await generateStampKey();
    const iat = Math.floor(simulator.nowMs() / 1000) + 4;
    const jwt = await simulator.issuer.mint({
      ...{ subject: "olga", audience: AUDIENCE, nonce: await loginNonce(key), claims: { iat, exp: iat + 300 } },
    });
    expect((await ask(key, "register_session", { jwt })).code).toBeNull();
    expect((await ask(key, "revoke_all_sessions", {})).code).toBeNull();
    expect((await ask(key, "register_session", { jwt })).code).toBe("JWT_REVOKED");
    await simulator.advanceClock(5_000);
    expect((await ask(key, "register_session", { jwt })).code).toBe("JWT_REVOKED");
    client = await simulator.connect();
  });

  test("of another user is out of reach, by its id too", async () => {
    const [mallory, victim] = [await logInAs("mallory"), await logInAs("victim")];
    const own = (await ask(victim, "list_sessions", {})).result as { sessions: { sessionId: string }[] };
    const sessionId = own.sessions[0]?.sessionId ?? "";
    expect((await ask(mallory, "revoke_session", { sessionId })).result).toEqual({ isRevoked: false });
    const jwt = await simulator.issuer.mint({
      subject: "mallory",
      audience: AUDIENCE,
      nonce: await loginNonce(mallory),
    });
    expect((await ask(mallory, "refresh_session", { jwt, sessionId })).code).toBe("SESSION_UNKNOWN");
    expect((await ask(victim, "list_wallets", { after: null })).code).toBeNull();
  });
});

describe("a session", () => {
  const update = async (id: string, changes: object) => {
    const keys = [simulator.administratorKey];
    const { version, app } = await client.getApp(keys, id);
    await client.updateApp(keys, { appId: id, expectedVersion: version, app: { ...app, ...changes } });
  };
  const codeOf = async (key: StampKey, id: string) => (await ask(key, "list_wallets", { after: null }, id)).code;

  test("does not outlive the issuer that it came from, nor its app's taking passkeys", async () => {
    const id = await createPasskeyApp(simulator, client);
    const user = await logIn(simulator, client, id, "judy");
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId: id, ...user }, authenticator);
    const byPasskey = await generateStampKey();
    await client.loginWithPasskey({ appId: id, key: byPasskey, passkey: passkeyOf(authenticator) });
    const { issuers } = appParams(simulator);
    await update(id, { issuers: issuers.map((each) => ({ ...each, issuer: "https://other.example" })) });
    expect([await codeOf(user.key, id), await codeOf(byPasskey, id)]).toEqual(["SESSION_UNKNOWN", null]);
    const listed = await ask(byPasskey, "list_sessions", {}, id);
    expect((listed.result as { sessions: object[] }).sessions).toMatchObject([{ isCurrent: true }]);
    await update(id, { issuers, passkeys: null });
    expect([await codeOf(user.key, id), await codeOf(byPasskey, id)]).toEqual([null, "SESSION_UNKNOWN"]);
  });

  test("does not outlive a maximum that was shortened", async () => {
    const id = await createApp(simulator, client, { sessionLifetimeS: 900 });
    const { key, session } = await logIn(simulator, client, id, "kim");
    await simulator.advanceClock(30_000);
    client = await simulator.connect();
    expect(await codeOf(key, id)).toBeNull();
    await update(id, { sessionLifetimeS: 20, maxSessionLifetimeS: 20 });
    expect(await codeOf(key, id)).toBe("SESSION_EXPIRED");
    // Nor does it live on in another key's name.
    const next = await generateStampKey();
    const jwt = await simulator.issuer.mint({ subject: "kim", audience: AUDIENCE, nonce: await loginNonce(next) });
    const { sessionId } = session;
    expect((await ask(next, "refresh_session", { jwt, sessionId }, id)).code).toBe("SESSION_EXPIRED");
    await logIn(simulator, client, id, "kim");
  });
});

describe("a session used outside its scope is refused", () => {
  let whole: LoggedIn;
  let inside: string;
  let outside: string;

  beforeAll(async () => {
    whole = await logIn(simulator, client, appId, "scoped");
    inside = (await whole.session.createWallet({ kind: "single-key" })).walletId;
    outside = (await whole.session.createWallet({ kind: "single-key" })).walletId;
  });

  const scoped = (scope: Partial<Scope>) =>
    logInAs("scoped", { scope: { operations: null, wallets: null, chains: null, ...scope } });
  const transaction = (walletId: string, chainId = 1) => ({
    ...{ walletId, chainId: String(chainId), unsignedTransaction: usdcTransfer({ chainId }) },
  });

  test("with an operation that it does not name", async () => {
    const key = await scoped({ operations: ["sign_transaction"] });
    expect((await ask(key, "sign_transaction", transaction(inside))).code).toBeNull();
    for (const [operation, params] of [
      ["sign_message", { walletId: inside, message: "0x00" }],
      ["create_wallet", { kind: "hd" }],
      ["list_wallets", { after: null }],
      ["revoke_all_sessions", {}],
    ] as const) {
      expect(await ask(key, operation, params)).toMatchObject({ status: 403, code: "OUT_OF_SCOPE" });
    }
  });

  test("with a wallet that it does not name, or wallets at large", async () => {
    const key = await scoped({ wallets: [inside] });
    expect((await ask(key, "sign_transaction", transaction(inside))).code).toBeNull();
    expect((await ask(key, "sign_message", { walletId: inside, message: "0x00" })).code).toBeNull();
    expect((await ask(key, "sign_transaction", transaction(outside))).code).toBe("OUT_OF_SCOPE");
    expect((await ask(key, "create_wallet", { kind: "hd" })).code).toBe("OUT_OF_SCOPE");
    expect((await ask(key, "list_wallets", { after: null })).code).toBe("OUT_OF_SCOPE");
  });

  test("with a chain that it does not name, whatever is said of the transaction, and with no chain", async () => {
    const key = await scoped({ chains: ["eip155:10"] });
    expect((await ask(key, "sign_transaction", transaction(inside, 10))).code).toBeNull();
    expect((await ask(key, "sign_transaction", transaction(inside, 1))).code).toBe("OUT_OF_SCOPE");
    const claimed = { ...transaction(inside, 1), chainId: "10" };
    expect((await ask(key, "sign_transaction", claimed)).code).toBe("CHAIN_MISMATCH");
    expect((await ask(key, "sign_message", { walletId: inside, message: "0x00" })).code).toBe("OUT_OF_SCOPE");
  });

  test("with the user's other sessions, which it neither sees nor ends; itself it may end", async () => {
    for (const narrowed of [{ wallets: [inside] }, { chains: ["eip155:1"] }]) {
      const other = whole.session.sessionId;
      const key = await generateStampKey();
      const jwt = await simulator.issuer.mint({ subject: "scoped", audience: AUDIENCE, nonce: await loginNonce(key) });
      const scope = { operations: null, wallets: null, chains: null, ...narrowed };
      const { sessionId } = (await ask(key, "register_session", { jwt, scope })).result as { sessionId: string };
      for (const [operation, params] of [
        ["list_sessions", {}],
        ["revoke_session", { sessionId: other }],
        ["revoke_all_sessions", {}],
      ] as const) {
        expect(await ask(key, operation, params)).toMatchObject({ status: 403, code: "OUT_OF_SCOPE" });
      }
      expect((await ask(whole.key, "list_wallets", { after: null })).code).toBeNull();
      expect((await ask(key, "revoke_session", { sessionId })).result).toEqual({ isRevoked: true });
    }
  });

  test("after a refresh as before: another key, the same scope", async () => {
    const key = await scoped({ operations: ["list_wallets", "list_sessions"] });
    const { sessions } = (await ask(key, "list_sessions", {})).result as {
      sessions: { sessionId: string; isCurrent: boolean }[];
    };
    const sessionId = sessions.find(({ isCurrent }) => isCurrent)?.sessionId ?? "";
    const next = await generateStampKey();
    const jwt = await simulator.issuer.mint({ subject: "scoped", audience: AUDIENCE, nonce: await loginNonce(next) });
    expect((await ask(next, "refresh_session", { jwt, sessionId })).code).toBeNull();
    expect((await ask(next, "list_wallets", { after: null })).code).toBeNull();
    expect((await ask(next, "create_wallet", { kind: "hd" })).code).toBe("OUT_OF_SCOPE");
    expect((await ask(key, "list_wallets", { after: null })).code).toBe("SESSION_UNKNOWN");
    // Asked for once more, after an answer that a parent withheld, it is no loss.
    expect((await ask(next, "refresh_session", { jwt, sessionId })).code).toBeNull();
  });

  test("lived longer than the app's maximum: it is cut to that", async () => {
    const limited = await createApp(simulator, client, { sessionLifetimeS: 60, maxSessionLifetimeS: 120 });
    const lifetimes: number[] = [];
    for (const lifetimeS of [undefined, 30, 86_400]) {
      const key = await generateStampKey();
      const jwt = await simulator.issuer.mint({ subject: "x", audience: AUDIENCE, nonce: await loginNonce(key) });
      const params = { jwt, ...(lifetimeS === undefined ? {} : { lifetimeS }) };
      const { result } = await ask(key, "register_session", params, limited);
      lifetimes.push(Math.round(((result as { expiresAtMs: number }).expiresAtMs - simulator.nowMs()) / 1000));
    }
    expect(lifetimes).toEqual([60, 30, 120]);
  });
});

describe("two apps", () => {
  test("with the same subject have two users, and neither names the other's user, wallet or session", async () => {
    const other = await createApp(simulator, client, { name: "other" });
    const here = await logIn(simulator, client, appId, "heidi");
    const there = await logIn(simulator, client, other, "heidi");
    expect(here.session.userId).not.toBe(there.session.userId);
    const { walletId } = await here.session.createWallet({ kind: "single-key" });
    const params = { walletId, message: "0x00" };
    expect((await ask(there.key, "sign_message", params, other)).code).toBe("WALLET_NOT_FOUND");
    expect(await there.session.listWallets()).toEqual({ wallets: [], more: false });
    // With the key of one in the audience of the other there is no session at all.
    expect((await ask(here.key, "sign_message", params, other)).code).toBe("SESSION_UNKNOWN");
    expect((await ask(there.key, "revoke_session", { sessionId: here.session.sessionId }, other)).result).toEqual({
      isRevoked: false,
    });
    await here.session.listWallets();
  });

  test.each([
    "SIGNATURE_SCHEME_TK_API_P256",
    "SIGNATURE_SCHEME_TK_API_SECP256K1",
    "SIGNATURE_SCHEME_TK_API_ED25519",
  ] as const)("with an API key (%s): it works in its app, on the app's wallets, as far as it may", async (scheme) => {
    const backend = generateKeyOf(scheme);
    const operations = ["create_wallet", "sign_message", "list_wallets"] as const;
    const withKey = await createApp(simulator, client, { name: scheme, apiKeys: [apiKeyOf(backend, [...operations])] });
    const made = await ask(backend, "create_wallet", { kind: "single-key" }, withKey);
    expect(made.code).toBeNull();
    const { walletId } = made.result as { walletId: string };
    expect((await ask(backend, "sign_message", { walletId, message: "0x00" }, withKey)).code).toBeNull();
    expect(
      (await ask(backend, "sign_transaction", { walletId, chainId: "1", unsignedTransaction: usdcTransfer() }, withKey))
        .code,
    ).toBe("OUT_OF_SCOPE");
    expect(await ask(backend, "revoke_all_sessions", {}, withKey)).toMatchObject({
      status: 403,
      code: "CALLER_NOT_ALLOWED",
    });
    expect((await ask(backend, "create_wallet", { kind: "hd" })).code).toBe("SESSION_UNKNOWN");
    // Users' wallets are none of the backend's, nor the backend's any user's.
    const user = await logIn(simulator, client, withKey, "ivan");
    const ofUser = await user.session.createWallet({ kind: "single-key" });
    expect((await ask(backend, "sign_message", { walletId: ofUser.walletId, message: "0x00" }, withKey)).code).toBe(
      "WALLET_NOT_FOUND",
    );
    expect((await ask(user.key, "sign_message", { walletId, message: "0x00" }, withKey)).code).toBe("WALLET_NOT_FOUND");
  });

  test("with an API key that is rotated: both work for a while, then one", async () => {
    const [before, after] = [
      generateKeyOf("SIGNATURE_SCHEME_TK_API_P256"),
      generateKeyOf("SIGNATURE_SCHEME_TK_API_ED25519"),
    ];
    const id = await createApp(simulator, client, { apiKeys: [apiKeyOf(before, ["list_wallets"])] });
    const list = async (key: StampKey) => (await ask(key, "list_wallets", { after: null }, id)).code;
    const rotation = {
      ...{ appId: id, expectedVersion: 1, name: "backend", scheme: after.scheme },
      ...{ publicKey: encodeHex(after.publicKey), overlapS: 20 },
    };
    const keys = [simulator.administratorKey];
    expect(await client.rotateAppKey(keys, rotation)).toEqual({ appId: id, version: 2 });
    // As by a client that lost the answer.
    expect(await client.rotateAppKey(keys, rotation)).toEqual({ appId: id, version: 2 });
    expect([await list(before), await list(after)]).toEqual([null, null]);
    await simulator.advanceClock(21_000);
    client = await simulator.connect();
    expect([await list(before), await list(after)]).toEqual(["SESSION_UNKNOWN", null]);
    await expect(client.rotateAppKey(keys, { ...rotation, expectedVersion: 2, name: "nobody" })).rejects.toMatchObject({
      code: "APP_KEY_NOT_FOUND",
    });
  });
});

describe("administrators", () => {
  test("do not overwrite each other, and what they take away is gone at the next request", async () => {
    const keys = [simulator.administratorKey];
    const backend = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const app = appParams(simulator, { name: "shared", apiKeys: [apiKeyOf(backend, ["list_wallets"])] });
    const { appId: id } = await client.createApp(keys, app);
    expect((await ask(backend, "list_wallets", { after: null }, id)).code).toBeNull();
    const read = await client.getApp(keys, id);
    expect(read).toMatchObject({
      version: 1,
      app: { name: "shared", sessionLifetimeS: 900, maxSessionLifetimeS: 900 },
    });
    const change = { appId: id, expectedVersion: 1, app: { ...read.app, apiKeys: [] } };
    expect(await client.updateApp(keys, change)).toEqual({ appId: id, version: 2 });
    expect(await client.updateApp(keys, change)).toEqual({ appId: id, version: 2 });
    expect((await ask(backend, "list_wallets", { after: null }, id)).code).toBe("SESSION_UNKNOWN");
    const late = { ...change, app: { ...read.app, name: "mine" } };
    await expect(client.updateApp(keys, late)).rejects.toMatchObject({ code: "APP_VERSION_CONFLICT" });
    await expect(client.getApp(keys, `app_${"0".repeat(32)}`)).rejects.toMatchObject({ code: "APP_NOT_FOUND" });
    const listed: string[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const page: Awaited<ReturnType<Client["listApps"]>> = await client.listApps(keys, after);
      listed.push(...page.apps.map((each) => each.appId));
      after = listed.at(-1) ?? null;
      more = page.more;
    }
    expect(listed).toContain(id);
  });

  test("keep their change in the face of a parent that brings the older app back", async () => {
    const keys = [simulator.administratorKey];
    const { appId: id } = await client.createApp(keys, appParams(simulator, { name: "rolled" }));
    const database = new DatabaseSync(simulator.recordsFile);
    try {
      const select = database.prepare("SELECT name, version, value FROM records WHERE name = ?");
      const row = select.get(`app/${id}`) as { name: string; version: number; value: Uint8Array };
      const { app } = await client.getApp(keys, id);
      await client.updateApp(keys, { appId: id, expectedVersion: 1, app: { ...app, name: "changed" } });
      database
        .prepare("UPDATE records SET version = ?, value = ? WHERE name = ?")
        .run(row.version, row.value, row.name);
      await expect(client.getApp(keys, id)).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
    } finally {
      database.close();
    }
  });

  test("who stamped different bodies did not stamp one, and the parent cannot join their stamps", async () => {
    const other = await generateStampKey();
    const alsoPublicKeys = [encodeHex(other.publicKey)];
    await using ofTwo = await startSimulator({ administrators: { threshold: 1, alsoPublicKeys } });
    const bodyOf = (name: string) =>
      requestBody(ofTwo, { operation: "create_app", params: appParams(ofTwo, { name }) as JsonValue });
    const [one, two] = [bodyOf("one"), bodyOf("two")];
    const stamps = [await stampOf(ofTwo.administratorKey, one), await stampOf(other, two)];
    expect((await post(ofTwo, one, stamps)).code).toBe("STAMP_INVALID");
    expect((await post(ofTwo, two, stamps)).code).toBe("STAMP_INVALID");
    expect((await post(ofTwo, one, stamps.slice(0, 1))).code).toBeNull();
    expect((await post(ofTwo, two, stamps.slice(1))).code).toBeNull();
  });

  test("are asked for no more stamps than there are of them: nobody makes the enclave verify more", async () => {
    const body = requestBody(simulator, { operation: "vault_status", params: {} });
    const stamp = await stampOf(simulator.administratorKey, body);
    const strangers = await Promise.all(
      [generateStampKey(), generateStampKey()].map(async (key) => stampOf(await key, body)),
    );
    expect((await post(simulator, body, [stamp, ...strangers])).code).toBe("STAMP_UNEXPECTED");
    expect((await post(simulator, body, [stamp])).code).toBeNull();
  });
});
