/** A parent that changes, repeats, redates and redirects requests, and that changes answers. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey } from "../../client/index.ts";
import { MAX_FUTURE_MS, REQUEST_PORT, REQUEST_WINDOW_MS, type Wallet } from "../../protocol/index.ts";
import { type HostileParent, type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { startHostileWorld } from "../support/hostile-world.ts";
import { post, requestBody, send, stampOf } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;
let wallet: Wallet;

beforeAll(async () => {
  ({ simulator, hostile, client, appId, alice, wallet } = await startHostileWorld());
});
afterAll(() => simulator.stop());
afterEach(() => {
  delete hostile.hooks.message;
});

function signBody(
  changes: { readonly issuedAtMs?: number; readonly requestId?: string } = {},
): Uint8Array<ArrayBuffer> {
  return requestBody(simulator, {
    operation: "sign_transaction",
    appId,
    params: { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer() },
    ...changes,
  });
}

describe("the body", () => {
  test("without an enemy it is signed", async () => {
    expect(await send(simulator, signBody(), alice.key)).toMatchObject({ status: 200, code: null });
  });

  test("changed by one byte after stamping, it is refused, whichever byte it was", async () => {
    const body = signBody();
    const stamp = await stampOf(alice.key, body);
    const codes = new Set<string | null>();
    for (let at = 0; at < body.length; at += 1) {
      const changed = body.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      codes.add((await post(simulator, changed, [stamp])).code);
    }
    expect(codes).not.toContain(null);
    expect(codes).toContain("STAMP_INVALID");
  });

  test("changed on its way through the parent, it is refused", async () => {
    hostile.hooks.message = (port, direction, message) => {
      if (port !== REQUEST_PORT || direction !== "to-enclave" || !("body" in message)) return message;
      const text = Buffer.from(message.body).toString().replace('"chainId":"1"', '"chainId":"5"');
      return { ...message, body: Buffer.from(text) };
    };
    expect(await send(simulator, signBody(), alice.key)).toMatchObject({ status: 401, code: "STAMP_INVALID" });
  });

  test("with another key's stamp it is refused", async () => {
    const body = signBody();
    const other = await generateStampKey();
    expect(await send(simulator, body, other)).toMatchObject({ status: 401, code: "SESSION_UNKNOWN" });
    const { publicKey, scheme } = alice.key;
    const forged = { publicKey, scheme, sign: other.sign };
    expect(await send(simulator, body, forged)).toMatchObject({ status: 401, code: "STAMP_INVALID" });
  });

  test("under the stamp of another user of the same app, its answer is not taken by who asked", async () => {
    const mallory = await logIn(simulator, client, appId, "mallory");
    hostile.hooks.message = async (port, direction, message) => {
      if (port !== REQUEST_PORT || direction !== "to-enclave" || !("stamps" in message)) return message;
      return { ...message, stamps: [await stampOf(mallory.key, Uint8Array.from(message.body))] };
    };
    const rejected = { code: "ANSWER_SIGNATURE_INVALID" };
    await expect(alice.session.createWallet({ kind: "single-key" })).rejects.toMatchObject(rejected);
    await expect(alice.session.listWallets()).rejects.toMatchObject(rejected);
  });

  test("with a second stamp beside the caller's it is refused, and the caller does not take the answer", async () => {
    const mallory = await logIn(simulator, client, appId, "mallory");
    const body = signBody();
    const stamps = [await stampOf(mallory.key, body), await stampOf(alice.key, body)];
    expect(await post(simulator, body, stamps)).toMatchObject({ status: 400, code: "STAMP_UNEXPECTED" });
  });

  test("without a stamp, or with one that is none, it is refused", async () => {
    expect(await post(simulator, signBody(), [])).toMatchObject({ status: 401, code: "STAMP_MISSING" });
    expect(await post(simulator, signBody(), ["AAAA"])).toMatchObject({ status: 400, code: "STAMP_MALFORMED" });
  });

  test("that is not strict JSON, or not a request, is refused", async () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const twice = Buffer.from(signBody()).toString().replace('"chainId":"1"', '"chainId":"1","chainId":"1"');
    expect((await send(simulator, bytes(twice), alice.key)).code).toBe("MALFORMED_JSON");
    expect((await send(simulator, bytes("{}"), alice.key)).code).toBe("INVALID_REQUEST");
    const unknown = requestBody(simulator, { operation: "sign_everything", appId });
    expect((await send(simulator, unknown, alice.key)).code).toBe("UNKNOWN_OPERATION");
    const more = requestBody(simulator, { operation: "list_wallets", appId, params: { after: null, all: true } });
    expect((await send(simulator, more, alice.key)).code).toBe("INVALID_PARAMS");
  });

  test("for another deployment, another app, or no app is refused", async () => {
    const otherAppId = await createApp(simulator, client, { name: "other" });
    const params = { after: null };
    const elsewhere = requestBody(simulator, { operation: "list_wallets", audience: `staging/${appId}`, params });
    expect((await send(simulator, elsewhere, alice.key)).code).toBe("WRONG_AUDIENCE");
    const noApp = requestBody(simulator, { operation: "list_wallets", params });
    expect((await send(simulator, noApp, alice.key)).code).toBe("WRONG_AUDIENCE");
    const otherApp = requestBody(simulator, { operation: "list_wallets", appId: otherAppId, params });
    expect((await send(simulator, otherApp, alice.key)).code).toBe("SESSION_UNKNOWN");
  });
});

describe("time and repetition", () => {
  test("a request sent twice is acted on once", async () => {
    const body = signBody();
    const stamp = await stampOf(alice.key, body);
    const answers = await Promise.all([post(simulator, body, [stamp]), post(simulator, body, [stamp])]);
    expect(answers.map(({ code }) => code).sort()).toEqual(["REQUEST_REPLAYED", null]);
    expect(await post(simulator, body, [stamp])).toMatchObject({ status: 409, code: "REQUEST_REPLAYED" });
  });

  test("a request that the parent repeats is acted on once", async () => {
    hostile.hooks.message = (port, direction, message) =>
      port === REQUEST_PORT && direction === "to-enclave" && "body" in message
        ? [message, { ...message, id: message.id + 1_000_000 }]
        : message;
    const seenBefore = hostile.record.length;
    expect((await send(simulator, signBody(), alice.key)).code).toBeNull();
    await expect
      .poll(() =>
        hostile.record
          .slice(seenBefore)
          .filter((seen) => "message" in seen && seen.port === REQUEST_PORT && seen.direction === "to-parent")
          .map((seen) => ("message" in seen && "status" in seen.message ? seen.message.status : null))
          .sort(),
      )
      .toEqual([200, 409]);
  });

  test("a signature that was stamped anew for the same bytes is still a replay", async () => {
    const body = signBody();
    expect((await send(simulator, body, alice.key)).code).toBeNull();
    // ECDSA by WebCrypto is randomised: another stamp, the same body.
    expect((await send(simulator, body, alice.key)).code).toBe("REQUEST_REPLAYED");
  });

  test("a retry under the same id needs a later date", async () => {
    const requestId = randomUUID();
    const issuedAtMs = simulator.nowMs() - 1_000;
    expect((await send(simulator, signBody({ requestId, issuedAtMs }), alice.key)).code).toBeNull();
    expect((await send(simulator, signBody({ requestId, issuedAtMs: issuedAtMs - 1 }), alice.key)).code).toBe(
      "REQUEST_REPLAYED",
    );
    expect((await send(simulator, signBody({ requestId, issuedAtMs: issuedAtMs + 1 }), alice.key)).code).toBeNull();
  });

  test("a request that an earlier boot acted on is not taken for new by the next", async () => {
    await using own = await startSimulator();
    const ownClient = await own.connect();
    const ownAppId = await createApp(own, ownClient);
    const { key } = await logIn(own, ownClient, ownAppId, "alice");
    const body = requestBody(own, { operation: "list_wallets", appId: ownAppId, params: { after: null } });
    const stamp = await stampOf(key, body);
    // Dated ahead, so that it would lie after the next boot had it been acted on at once.
    const ahead = requestBody(own, {
      operation: "list_wallets",
      appId: ownAppId,
      params: { after: null },
      issuedAtMs: own.nowMs() + 300,
    });
    const aheadStamp = await stampOf(key, ahead);
    expect((await post(own, body, [stamp])).code).toBeNull();
    expect((await post(own, ahead, [aheadStamp])).code).toBeNull();
    await own.killEnclave();
    await own.startEnclave();
    expect((await post(own, body, [stamp])).code).toBe("REQUEST_STALE");
    expect((await post(own, ahead, [aheadStamp])).code).toBe("REQUEST_STALE");
  });

  test("a request from before the window, or from too far ahead, is refused", async () => {
    const now = simulator.nowMs();
    const stale = await send(simulator, signBody({ issuedAtMs: now - REQUEST_WINDOW_MS - 2_000 }), alice.key);
    expect(stale).toMatchObject({ status: 409, code: "REQUEST_STALE" });
    const ahead = await send(simulator, signBody({ issuedAtMs: now + MAX_FUTURE_MS + 2_000 }), alice.key);
    expect(ahead).toMatchObject({ status: 409, code: "REQUEST_FROM_FUTURE" });
  });

  test("a crowd of strangers' requests dated ahead keeps nobody from being served", async () => {
    const stranger = await generateStampKey();
    // As many as one address may have under way: who has more is the parent's to refuse.
    const crowd = Array.from({ length: 400 }, async () => {
      const body = signBody({ issuedAtMs: simulator.nowMs() + MAX_FUTURE_MS - 200 });
      return (await send(simulator, body, stranger)).code;
    });
    const answers = await Promise.all([...crowd, send(simulator, signBody(), alice.key).then(({ code }) => code)]);
    expect(answers.at(-1)).toBeNull();
    // Their own lane is full at some time, and nobody else's is.
    expect(answers).toContain("SESSION_UNKNOWN");
    expect(answers.slice(0, -1).filter((code) => code !== "SESSION_UNKNOWN" && code !== "BUSY")).toEqual([]);
  });

  test("a request dated a little ahead is not acted on before its time", async () => {
    const issuedAtMs = simulator.nowMs() + 400;
    expect((await send(simulator, signBody({ issuedAtMs }), alice.key)).code).toBeNull();
    expect(simulator.nowMs()).toBeGreaterThanOrEqual(issuedAtMs);
  });

  test("a request dated ahead is judged when its time has come: what was revoked meanwhile does nothing", async () => {
    const { session, key } = await logIn(simulator, client, appId, "revoked-meanwhile");
    const other = await logIn(simulator, client, appId, "revoked-meanwhile");
    const body = requestBody(simulator, {
      ...{ operation: "create_wallet", appId, params: { kind: "single-key" } },
      issuedAtMs: simulator.nowMs() + 4_000,
    });
    const early = send(simulator, body, key);
    // Not before it waits: by then it was let in.
    await new Promise((resolve) => setTimeout(resolve, 500));
    await other.session.revokeSession({ sessionId: session.sessionId });
    expect((await early).code).toBe("SESSION_UNKNOWN");
    expect((await other.session.listWallets()).wallets).toEqual([]);
  }, 15_000);
});

describe("answers", () => {
  test.each([
    ["another address", (text: string) => text.replace(/0x[0-9a-fA-F]{40}/, `0x${"11".repeat(20)}`)],
    ["another request's id", (text: string) => text.replace(/"requestId":"[^"]+"/, `"requestId":"${randomUUID()}"`)],
    ["an error in place of a result", () => '{"requestId":null,"error":{"code":"INTERNAL","message":"x"}}'],
  ])("with %s are not taken for the enclave's", async (_what, change) => {
    hostile.hooks.message = (port, direction, message) =>
      port === REQUEST_PORT && direction === "to-parent" && "signature" in message && message.signature !== null
        ? { ...message, body: Buffer.from(change(Buffer.from(message.body).toString())) }
        : message;
    await expect(alice.session.createWallet({ kind: "single-key" })).rejects.toMatchObject({
      code: "ANSWER_SIGNATURE_INVALID",
    });
  });

  test("with another status are not taken for the enclave's", async () => {
    hostile.hooks.message = (port, direction, message) =>
      port === REQUEST_PORT && direction === "to-parent" && "signature" in message && message.signature !== null
        ? { ...message, status: 409 }
        : message;
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
  });

  test("to another request are not taken for the answer to this one", async () => {
    let earlier: unknown;
    hostile.hooks.message = (port, direction, message) => {
      if (port !== REQUEST_PORT || direction !== "to-parent" || !("signature" in message)) return message;
      if (message.signature === null) return message;
      earlier ??= message;
      return { ...(earlier as object), id: message.id };
    };
    await alice.session.listWallets();
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
  });

  test("without a signature are not taken for the enclave's, neither results nor refusals", async () => {
    const strip = (body?: string) => {
      hostile.hooks.message = (port, direction, message) =>
        port === REQUEST_PORT && direction === "to-parent" && "signature" in message && message.signature !== null
          ? { ...message, signature: null, ...(body === undefined ? {} : { body: Buffer.from(body) }) }
          : message;
    };
    strip();
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "ANSWER_NOT_SIGNED" });
    strip('{"requestId":null,"error":{"code":"SESSION_EXPIRED","message":"log in here: evil.example"}}');
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "ANSWER_NOT_SIGNED" });
    strip('{"requestId":null,"error":{"code":"PARENT_BUSY","message":"x"}}');
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "PARENT_BUSY", isFromEnclave: false });
    strip("{");
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "ANSWER_MALFORMED" });
  });
});
