/** Passkeys against a parent that repeats, swaps and drops their stamps, and against whoever would use another's. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, generateStampKey, type PasskeyStampKey, type StampKey } from "../../client/index.ts";
import {
  audienceOf,
  encodeBase64url,
  encodeWebauthnStamp,
  type JsonValue,
  REQUEST_PORT,
  WEBAUTHN_STAMP_HEADER,
} from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { createPasskeyApp, loginParams, passkeyOf, registerPasskey } from "../support/account.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { attestedKeys, sendSealed } from "../support/app-requests.ts";
import { Authenticator, PASSKEYS, type Said } from "../support/authenticator.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { post, requestBody, stampOf } from "../support/raw-request.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;
let authenticator: Authenticator;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createPasskeyApp(simulator, client);
});
afterAll(() => simulator.stop());

beforeEach(async () => {
  alice = await logIn(simulator, client, appId, `alice-${randomUUID()}`);
  authenticator = new Authenticator("ES256", { counts: true });
  await registerPasskey({ client, appId, ...alice }, authenticator);
});
afterEach(() => {
  hostile.hooks.message = undefined;
});

const listWallets = () => requestBody(simulator, { operation: "list_wallets", appId, params: { after: null } });

function asking(stamp: string, body: Uint8Array<ArrayBuffer>) {
  return post(simulator, body, [stamp]);
}

const loginBody = (params: JsonValue) =>
  requestBody(simulator, { operation: "register_session_with_passkey", appId, params });

async function askSealed(body: Uint8Array<ArrayBuffer>, stamps: string[]) {
  return sendSealed(simulator, await attestedKeys(simulator), `${simulator.deployment}/${appId}`, { stamps, body });
}

describe("a passkey's own stamp", () => {
  test("asks in the name of its user, and of nobody else", async () => {
    const wallet = await alice.session.createWallet({ kind: "single-key" });
    const stamps = [passkeyOf(authenticator)];
    const listed = await client.call("list_wallets", { after: null }, { appId, keys: stamps });
    expect(listed.wallets).toEqual([wallet]);
  });

  test("replayed by the parent is acted on once", async () => {
    const body = listWallets();
    const stamp = authenticator.stamp(body);
    expect(await asking(stamp, body)).toMatchObject({ status: 200 });
    expect(await asking(stamp, body)).toMatchObject({ code: "REQUEST_REPLAYED" });
  });

  test("replayed for another body is refused, whatever the body says", async () => {
    const stamp = authenticator.stamp(listWallets());
    expect(await asking(stamp, listWallets())).toMatchObject({ code: "PASSKEY_CHALLENGE_MISMATCH" });
  });

  test.each<[string, string, Said]>([
    ["another origin", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { origin: "https://phishing.example" } }],
    ["another relying party's id", "PASSKEY_RP_MISMATCH", { rpId: "phishing.example" }],
    ["a page in another site's frame", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { crossOrigin: true } }],
    ["a user who was not verified", "PASSKEY_USER_NOT_VERIFIED", { flags: 0x01 }],
    ["a registration", "PASSKEY_TYPE_MISMATCH", { clientData: { type: "webauthn.create" } }],
    ["client data with a member twice", "PASSKEY_MALFORMED", { clientDataText: '{"type":"webauthn.get","type":"x"}' }],
  ])("of %s is refused", async (_what, code, said) => {
    const body = listWallets();
    expect(await asking(authenticator.stamp(body, said), body)).toMatchObject({ code });
  });

  test("whose counter goes back, as a copy's does, is refused from then on", async () => {
    const ask = async (signCount: number) => {
      const body = listWallets();
      return asking(authenticator.stamp(body, { signCount }), body);
    };
    expect(await ask(10)).toMatchObject({ status: 200 });
    for (const signCount of [10, 9, 0]) {
      expect(await ask(signCount)).toMatchObject({ code: "PASSKEY_COUNTER_REGRESSED" });
    }
    expect(await ask(11)).toMatchObject({ status: 200 });
  });

  test("sent twice at once with one counter is acted on once", async () => {
    const bodies = [listWallets(), listWallets()];
    const answers = await Promise.all(bodies.map((body) => asking(authenticator.stamp(body, { signCount: 20 }), body)));
    expect(answers.map(({ code }) => code ?? "done").sort()).toEqual(["PASSKEY_COUNTER_REGRESSED", "done"]);
  });

  test("of an authenticator that does not count is taken each time", async () => {
    const other = new Authenticator("EdDSA");
    await registerPasskey({ client, appId, ...alice }, other);
    for (let time = 0; time < 2; time += 1) {
      await client.call("list_wallets", { after: null }, { appId, keys: [passkeyOf(other)] });
    }
  });

  test("of a passkey that nobody has, or that another app has, is refused", async () => {
    const body = listWallets();
    expect(await asking(new Authenticator().stamp(body), body)).toMatchObject({ code: "PASSKEY_UNKNOWN" });
    const otherApp = await createPasskeyApp(simulator, client);
    const there = requestBody(simulator, { operation: "list_wallets", appId: otherApp, params: { after: null } });
    expect(await asking(authenticator.stamp(there), there)).toMatchObject({ code: "PASSKEY_UNKNOWN" });
  });

  test("signed by another key in the name of a registered credential is refused", async () => {
    const body = listWallets();
    const forged = { ...new Authenticator().assert(body), credentialId: authenticator.credentialId };
    expect(await asking(encodeWebauthnStamp(forged), body)).toMatchObject({ code: "PASSKEY_SIGNATURE_INVALID" });
  });

  test("is refused where the app takes no passkeys, and for what the app does not leave to them", async () => {
    const without = await createApp(simulator, client);
    const body = requestBody(simulator, { operation: "list_wallets", appId: without, params: { after: null } });
    expect(await asking(authenticator.stamp(body), body)).toMatchObject({ code: "PASSKEYS_NOT_ALLOWED" });

    const narrow = await createPasskeyApp(simulator, client, {
      passkeys: { ...PASSKEYS, operations: ["list_wallets"] },
    });
    const bob = await logIn(simulator, client, narrow, "bob");
    const own = new Authenticator();
    await registerPasskey({ client, appId: narrow, ...bob }, own);
    const call = { appId: narrow, keys: [passkeyOf(own)] };
    await client.call("list_wallets", { after: null }, call);
    await expect(client.call("create_wallet", { kind: "hd" }, call)).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
  });

  test("dropped or swapped by the parent gets no answer that the caller accepts", async () => {
    const attacker = await logIn(simulator, client, appId, "mallory");
    const hisPasskey = new Authenticator();
    await registerPasskey({ client, appId, ...attacker }, hisPasskey);
    const call = () =>
      client.call("create_wallet", { kind: "single-key" }, { appId, keys: [passkeyOf(authenticator)] });

    const replaceStamps = (stamps: (body: Uint8Array) => Promise<string[]> | string[]) => {
      hostile.hooks.message = async (port, direction, message) => {
        const isRequest = port === REQUEST_PORT && direction === "to-enclave" && "kind" in message;
        if (!isRequest || message.kind !== "operation") return message;
        return { ...message, stamps: await stamps(message.body as Uint8Array) };
      };
    };
    // Its own passkey's stamp over the same body: the enclave acts for the attacker, and the caller notices.
    replaceStamps((body) => [hisPasskey.stamp(body)]);
    await expect(call()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
    replaceStamps(async (body) => [await stampOf(attacker.key, Uint8Array.from(body))]);
    await expect(call()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
    replaceStamps(() => []);
    await expect(call()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
    hostile.hooks.message = undefined;
    expect((await alice.session.listWallets()).wallets).toEqual([]);
  });
});

describe("stamps that do not belong together are refused", () => {
  test("a passkey's beside a key's, where one is asked for", async () => {
    const body = listWallets();
    const stamps = [await stampOf(alice.key, body), authenticator.stamp(body)];
    expect(await post(simulator, body, stamps)).toMatchObject({ code: "STAMP_UNEXPECTED" });
  });

  test("a passkey's among administrators'", async () => {
    const body = requestBody(simulator, { operation: "vault_status" });
    const stamps = [await stampOf(simulator.administratorKey, body), authenticator.stamp(body)];
    expect(await post(simulator, body, stamps)).toMatchObject({ code: "STAMP_UNEXPECTED" });
    expect(await post(simulator, body, [authenticator.stamp(body)])).toMatchObject({ code: "STAMP_UNEXPECTED" });
  });

  test("two of passkeys", async () => {
    hostile.hooks.message = (port, direction, message) => {
      const isRequest = port === REQUEST_PORT && direction === "to-enclave" && "kind" in message;
      return isRequest && message.kind === "operation"
        ? { ...message, stamps: [...message.stamps, ...message.stamps] }
        : message;
    };
    const body = listWallets();
    expect(await asking(authenticator.stamp(body), body)).toMatchObject({ code: "STAMP_UNEXPECTED" });
  });

  test("what is no stamp at all", async () => {
    const body = listWallets();
    for (const header of ["{", "{}", '{"credentialId":"AA"}', `{"x":"${"A".repeat(4000)}"}`]) {
      expect(await asking(header, body)).toMatchObject({ code: "STAMP_MALFORMED" });
    }
    const long = await fetch(`${simulator.url}/v1/request`, {
      method: "POST",
      headers: { [WEBAUTHN_STAMP_HEADER]: `{${" ".repeat(4096)}}` },
      body,
    });
    expect(await long.json()).toMatchObject({ error: { code: "PARENT_INVALID_REQUEST" } });
  });
});

describe("logging in with a passkey", () => {
  test("gives the key that stamps beside it a session of the same user", async () => {
    const key = await generateStampKey();
    const session = await client.loginWithPasskey({ appId, key, passkey: passkeyOf(authenticator) });
    expect(session.userId).toBe(alice.session.userId);
    await session.createWallet({ kind: "single-key" });
    expect((await alice.session.listWallets()).wallets.length).toBe(1);
  });

  test("under a key that the parent put in the place of the user's is refused", async () => {
    const key = await generateStampKey();
    const own = await generateStampKey();
    const body = loginBody(loginParams(key));
    const stamps = [await stampOf(own, body), authenticator.stamp(body)];
    expect(await askSealed(body, stamps)).toMatchObject({ code: "STAMP_UNEXPECTED" });
  });

  test("without the key's own stamp is refused: nobody binds another's key to their account", async () => {
    const body = loginBody(loginParams(alice.key));
    expect(await askSealed(body, [authenticator.stamp(body)])).toMatchObject({ code: "STAMP_MISSING" });
    const keyOnly = await stampOf(alice.key, body);
    expect(await askSealed(body, [keyOnly])).toMatchObject({ code: "STAMP_MISSING" });
  });

  test("replayed is refused", async () => {
    const key = await generateStampKey();
    const body = loginBody(loginParams(key));
    const stamps = [await stampOf(key, body), authenticator.stamp(body)];
    expect(await askSealed(body, stamps)).toMatchObject({ status: 200 });
    expect(await askSealed(body, stamps)).toMatchObject({ code: "REQUEST_REPLAYED" });
  });

  test("travels sealed, and in the open is refused: what nobody saw cannot be taken apart", async () => {
    const key = await generateStampKey();
    const from = hostile.record.length;
    await client.loginWithPasskey({ appId, key, passkey: passkeyOf(authenticator) });
    const seen = hostile.record.slice(from).flatMap((each) => {
      return each.port === REQUEST_PORT && "payload" in each ? [Buffer.from(each.payload).toString("latin1")] : [];
    });
    expect(seen.join("\n")).toContain(appId);
    expect(seen.join("\n")).not.toContain("register_session_with_passkey");
    const body = loginBody(loginParams(key));
    const stamps = [await stampOf(key, body), authenticator.stamp(body)];
    expect(await post(simulator, body, stamps)).toMatchObject({ code: "SEALING_REQUIRED" });
  });
});

describe("a passkey login's body under the passkey of somebody else", () => {
  let mallory: LoggedIn;
  let hisPasskey: Authenticator;
  let key: StampKey;

  beforeEach(async () => {
    mallory = await logIn(simulator, client, appId, `mallory-${randomUUID()}`);
    hisPasskey = new Authenticator();
    await registerPasskey({ client, appId, ...mallory }, hisPasskey);
    key = await generateStampKey();
  });

  /** As if a client had sent it in the open, or the parent had body and key's stamp from elsewhere. */
  function caught(): { readonly passkey: PasskeyStampKey; readonly body: () => Uint8Array<ArrayBuffer> } {
    let body: Uint8Array<ArrayBuffer> | undefined;
    return {
      passkey: {
        stamp: async (stamped) => {
          body = stamped;
          return authenticator.stamp(stamped);
        },
      },
      body: () => body ?? Uint8Array.of(),
    };
  }
  const swap = async (body: Uint8Array<ArrayBuffer>) => [await stampOf(key, body), hisPasskey.stamp(body)];
  const walletsOfMallory = async () => (await mallory.session.listWallets()).wallets;

  test("sent after the user's own login is refused, and the session stays the user's", async () => {
    const seen = caught();
    const session = await client.loginWithPasskey({ appId, key, passkey: seen.passkey });
    const stamps = await swap(seen.body());
    expect(await askSealed(seen.body(), stamps)).toMatchObject({ code: "REQUEST_REPLAYED" });
    const { walletId } = await session.createWallet({ kind: "single-key" });
    expect(await walletsOfMallory()).toEqual([]);
    expect((await alice.session.listWallets()).wallets.map((each) => each.walletId)).toEqual([walletId]);
  });

  test("sent before it has the user's own refused: no session of the client's acts in another's account", async () => {
    // With the first delivery, the parent's; the user's own comes after it.
    const passkey: PasskeyStampKey = {
      stamp: async (body) => {
        expect(await askSealed(body, await swap(body))).toMatchObject({ status: 200 });
        return authenticator.stamp(body);
      },
    };
    await expect(client.loginWithPasskey({ appId, key, passkey })).rejects.toMatchObject({ code: "REQUEST_REPLAYED" });
    // The same key again, in a request of its own: it is not led away from there either, and nobody is misled.
    const again = client.loginWithPasskey({ appId, key, passkey: passkeyOf(authenticator) });
    await expect(again).rejects.toMatchObject({ code: "SESSION_KEY_TAKEN" });
    const other = await generateStampKey();
    const session = await client.loginWithPasskey({ appId, key: other, passkey: passkeyOf(authenticator) });
    expect(session.userId).toBe(alice.session.userId);
  });

  test("in another request that the key has stamped does not lead its session elsewhere", async () => {
    const session = await client.loginWithPasskey({ appId, key, passkey: passkeyOf(authenticator) });
    // A second attempt of the user's, that the parent kept back.
    const body = loginBody(loginParams(key));
    expect(await askSealed(body, await swap(body))).toMatchObject({ status: 409, code: "SESSION_KEY_TAKEN" });
    await session.createWallet({ kind: "single-key" });
    expect(await walletsOfMallory()).toEqual([]);
    // Once it has ended, the key is free.
    await session.logOut();
    const next = loginBody(loginParams(key));
    expect(await askSealed(next, await swap(next))).toMatchObject({ status: 200 });
  });

  test("that names the passkey which it is for is refused, whichever comes first", async () => {
    const credentialId = encodeBase64url(authenticator.credentialId);
    const body = loginBody({ ...loginParams(key), credentialId });
    expect(await askSealed(body, await swap(body))).toMatchObject({ code: "STAMP_UNEXPECTED" });
    expect(await askSealed(body, [await stampOf(key, body), authenticator.stamp(body)])).toMatchObject({ status: 200 });
    // As the client library names it, wherever it knows it.
    const other = await generateStampKey();
    const passkey = { ...passkeyOf(hisPasskey), credentialId };
    const named = client.loginWithPasskey({ appId, key: other, passkey });
    await expect(named).rejects.toMatchObject({ code: "STAMP_UNEXPECTED" });
  });

  test("by two users at once leaves the key with one of them", async () => {
    const bodies = [loginBody(loginParams(key)), loginBody(loginParams(key))] as const;
    const [first, second] = bodies;
    const answers = await Promise.all([
      askSealed(first, [await stampOf(key, first), authenticator.stamp(first)]),
      askSealed(second, await swap(second)),
    ]);
    expect(answers.map(({ code }) => code ?? "done").sort()).toEqual(["SESSION_KEY_TAKEN", "done"]);
  });
});

describe("registering", () => {
  test("another's passkey, whose public half the parent has seen, is refused: it has not stamped", async () => {
    const victim = new Authenticator();
    const mallory = await logIn(simulator, client, appId, "mallory");
    const own = new Authenticator();
    // The credential is the victim's, and so is the key; the attacker can only stamp with their own.
    const said = { credentialId: victim.credentialId, cose: victim.coseKey() };
    const attempt = registerPasskey({ client, appId, ...mallory }, own, { said });
    await expect(attempt).rejects.toMatchObject({ code: "PASSKEY_UNKNOWN" });
    const stamp = {
      stamp: async (body: Uint8Array<ArrayBuffer>) => {
        return encodeWebauthnStamp({ ...own.assert(body), credentialId: victim.credentialId });
      },
    };
    const forged = registerPasskey({ client, appId, ...mallory }, own, { said, stamp });
    await expect(forged).rejects.toMatchObject({ code: "PASSKEY_SIGNATURE_INVALID" });
  });

  test("a passkey that somebody has is refused", async () => {
    const bob = await logIn(simulator, client, appId, "bob");
    const attempt = registerPasskey({ client, appId, ...bob }, authenticator);
    await expect(attempt).rejects.toMatchObject({ code: "PASSKEY_TAKEN" });
  });

  test("a ceremony of another request, or of another user's, is refused", async () => {
    const other = new Authenticator();
    const audience = audienceOf(client.deployment, appId);
    const { userId } = alice.session;
    for (const request of [
      { audience, userId, requestId: randomUUID() },
      { audience, userId: `usr_${"0".repeat(32)}`, requestId: "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10" },
      { audience: "other", userId, requestId: "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10" },
    ]) {
      const params = { name: "x", ...other.register(request) };
      const keys = [alice.key, passkeyOf(other)];
      const requestId = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";
      const attempt = client.call("register_passkey", params, { appId, keys, requestId });
      await expect(attempt).rejects.toMatchObject({ code: "PASSKEY_CHALLENGE_MISMATCH" });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  test("again, because the answer was lost, finds what the first attempt made", async () => {
    const other = new Authenticator();
    const requestId = randomUUID();
    const first = await registerPasskey({ client, appId, ...alice }, other, { requestId });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await registerPasskey({ client, appId, ...alice }, other, { requestId })).toEqual(first);
    expect((await alice.session.account.listPasskeys()).length).toBe(2);
  });

  test("is not for a session that may touch only some wallets, nor for a passkey by itself", async () => {
    const key = await generateStampKey();
    const scope = { operations: null, wallets: [`wal_${"0".repeat(32)}`], chains: null };
    const params = { ...loginParams(key), scope };
    const keys = [key, passkeyOf(authenticator)];
    const { sessionId } = await client.call("register_session_with_passkey", params, { appId, keys });
    expect(sessionId).toMatch(/^ses_/);
    const session = { userId: alice.session.userId } as LoggedIn["session"];
    const attempt = registerPasskey({ client, appId, session, key }, new Authenticator());
    await expect(attempt).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
    const body = requestBody(simulator, { operation: "link_identity", appId, params: { jwt: "x" } });
    expect(await asking(authenticator.stamp(body), body)).toMatchObject({ code: "CALLER_NOT_ALLOWED" });
  });

  test("more than eight is refused", async () => {
    for (let count = 2; count <= 8; count += 1) await registerPasskey({ client, appId, ...alice }, new Authenticator());
    const ninth = registerPasskey({ client, appId, ...alice }, new Authenticator());
    await expect(ninth).rejects.toMatchObject({ code: "TOO_MANY_PASSKEYS" });
  });
});

describe("removing", () => {
  test("a passkey ends its stamps and the sessions that it began, from the next request on", async () => {
    const key = await generateStampKey();
    const begun = await client.loginWithPasskey({ appId, key, passkey: passkeyOf(authenticator) });
    const [passkey] = await alice.session.account.listPasskeys();
    await alice.session.account.removePasskey(passkey?.passkeyId ?? "");
    const body = listWallets();
    expect(await asking(authenticator.stamp(body), body)).toMatchObject({ code: "PASSKEY_UNKNOWN" });
    await expect(begun.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    await alice.session.listWallets();
    expect(await alice.session.account.listPasskeys()).toEqual([]);
  });

  test("a passkey that is not the user's is refused", async () => {
    const bob = await logIn(simulator, client, appId, "bob");
    const [passkey] = await alice.session.account.listPasskeys();
    const attempt = bob.session.account.removePasskey(passkey?.passkeyId ?? "");
    await expect(attempt).rejects.toMatchObject({ code: "PASSKEY_NOT_FOUND" });
  });

  test("a passkey's record that the parent brings back brings nothing back", async () => {
    // Booted anew, so that the enclave asks for the record.
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect();
    const isPointer = ({ name }: { name: string }) => name.startsWith("passkey/");
    let kept: object | undefined;
    hostile.hooks.message = (_port, direction, message) => {
      if (direction === "to-enclave" && "record" in message && message.record !== null && isPointer(message.record)) {
        kept = message.record;
      }
      return message;
    };
    const before = listWallets();
    expect(await asking(authenticator.stamp(before), before)).toMatchObject({ status: 200 });
    expect(kept).toBeDefined();
    const [passkey] = await alice.session.account.listPasskeys();
    await alice.session.account.removePasskey(passkey?.passkeyId ?? "");
    hostile.hooks.message = (_port, direction, message) =>
      direction === "to-enclave" && "record" in message && message.record !== null && isPointer(message.record)
        ? { ...message, record: kept }
        : message;
    const after = listWallets();
    expect(await asking(authenticator.stamp(after), after)).toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });
});
