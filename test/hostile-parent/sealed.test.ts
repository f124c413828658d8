/** What a parent can do with requests that it cannot read: relay them, again, elsewhere, or not. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce } from "../../client/index.ts";
import { type JsonValue, MAX_SEALED_BYTES, REQUEST_PORT, sealRequest } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { AUDIENCE, createApp, logIn } from "../support/app.ts";
import { attestedKeys, postSealedBytes, sendSealed } from "../support/app-requests.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, stampOf } from "../support/raw-request.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createApp(simulator, client);
});
afterAll(() => simulator.stop());
beforeEach(() => {
  delete hostile.hooks.message;
});

async function stampedRequest(operation: string, params: JsonValue) {
  const { key } = await logIn(simulator, client, appId, "alice");
  const body = requestBody(simulator, { operation, appId, params });
  return { body, stamps: [await stampOf(key, body)], audience: `${simulator.deployment}/${appId}` };
}

test("a login's token is nowhere in what the parent relays, and its answer neither", async () => {
  const from = hostile.record.length;
  const key = await generateStampKey();
  const jwt = await simulator.issuer.mint({ subject: "carol", audience: AUDIENCE, nonce: await loginNonce(key) });
  const session = await client.login({ appId, jwt, key });
  const seen = hostile.record.slice(from).flatMap((each) => {
    return each.port === REQUEST_PORT && "payload" in each ? [Buffer.from(each.payload).toString("latin1")] : [];
  });
  expect(seen.length).toBeGreaterThan(1);
  const [, payload = ""] = jwt.split(".");
  for (const text of [jwt, payload, session.sessionId, session.userId, "register_session", "X-Stamp"]) {
    expect(seen.join("\n")).not.toContain(text);
  }
  // The same search finds what is there to be found: the audience stands outside.
  expect(seen.join("\n")).toContain(appId);
});

test("requests and answers of different operations have the same lengths", async () => {
  const keys = await attestedKeys(simulator);
  const lengths: (readonly [number, number])[] = [];
  for (const [operation, params] of [
    ["list_wallets", { after: null }],
    ["create_wallet", { kind: "hd" }],
    ["sign_message", { walletId: `wal_${"0".repeat(32)}`, message: `0x${"00".repeat(100)}` }],
  ] as const) {
    const { body, stamps, audience } = await stampedRequest(operation, params);
    const { bytes } = await sealRequest(keys, audience, { stamps, body });
    const answer = await sendSealed(simulator, keys, audience, { stamps, body });
    lengths.push([bytes.length, answer.bytes.length]);
  }
  expect(new Set(lengths.map(String)).size).toBe(1);
});

describe("a sealed request is refused", () => {
  test("opened with another boot's key, and the client seals again", async () => {
    const before = await attestedKeys(simulator);
    const { body, stamps, audience } = await stampedRequest("list_wallets", { after: null });
    await simulator.killEnclave();
    await simulator.startEnclave();
    expect(await sendSealed(simulator, before, audience, { stamps, body })).toMatchObject({
      status: 409,
      code: "SEALED_FOR_ANOTHER_BOOT",
    });
    // The client still has the keys of before, finds out, and logs in all the same.
    const { session } = await logIn(simulator, client, appId, "alice");
    await session.listWallets();
  });

  test("changed on its way, under any name of the key", async () => {
    const keys = await attestedKeys(simulator);
    const { body, stamps, audience } = await stampedRequest("list_wallets", { after: null });
    const { bytes } = await sealRequest(keys, audience, { stamps, body });
    for (const at of [12, 60, bytes.length - 1]) {
      const response = await postSealedBytes(simulator, bytes.with(at, (bytes[at] ?? 0) ^ 1));
      expect(await response.json()).toMatchObject({
        error: { code: "SEALED_NOT_OPENED" },
      });
      expect(response.status).toBe(400);
    }
    const other = { ...keys, answerKey: new Uint8Array(32) };
    expect((await sendSealed(simulator, other, audience, { stamps, body })).code).toBe("SEALED_FOR_ANOTHER_BOOT");
  });

  test("addressed outside to another audience than inside", async () => {
    const keys = await attestedKeys(simulator);
    const { body, stamps } = await stampedRequest("list_wallets", { after: null });
    const elsewhere = `${simulator.deployment}/app_${"0".repeat(32)}`;
    expect(await sendSealed(simulator, keys, elsewhere, { stamps, body })).toMatchObject({
      status: 403,
      code: "WRONG_AUDIENCE",
    });
  });

  test("that is shown a second time", async () => {
    const keys = await attestedKeys(simulator);
    const { body, stamps, audience } = await stampedRequest("list_wallets", { after: null });
    const sealed = await sealRequest(keys, audience, { stamps, body });
    const codes: (string | null)[] = [];
    for (let time = 0; time < 2; time += 1) {
      const response = await postSealedBytes(simulator, sealed.bytes);
      const answer = await sealed.openAnswer(new Uint8Array(await response.arrayBuffer()));
      const json = JSON.parse(Buffer.from(answer.body).toString()) as { error?: { code: string } };
      codes.push(json.error?.code ?? null);
    }
    expect(codes).toEqual([null, "REQUEST_REPLAYED"]);
  });

  test("that is no sealed message at all", async () => {
    for (const bytes of [new Uint8Array(0), new Uint8Array(64), new Uint8Array(2048).fill(1)]) {
      const response = await postSealedBytes(simulator, bytes);
      expect(await response.json()).toMatchObject({ requestId: null, error: { code: "SEALED_MALFORMED" } });
      expect(response.headers.get("x-enclave-signature")).not.toBeNull();
    }
    const response = await postSealedBytes(simulator, new Uint8Array(MAX_SEALED_BYTES + 1));
    expect(await response.json()).toMatchObject({ error: { code: "PARENT_BODY_TOO_LARGE" } });
  });
});

describe("an answer", () => {
  test("of one sealed request given to another is not taken", async () => {
    const answers: { id: number; body: Uint8Array }[] = [];
    hostile.hooks.message = (port, direction, message) => {
      if (port !== REQUEST_PORT || direction !== "to-parent" || !("signature" in message)) return message;
      answers.push({ id: message.id, body: message.body });
      const [first] = answers;
      return first === undefined ? message : { ...message, body: first.body, status: 200, signature: null };
    };
    const first = await logIn(simulator, client, appId, "first");
    await expect(logIn(simulator, client, appId, "second")).rejects.toMatchObject({ code: "ANSWER_MALFORMED" });
    delete hostile.hooks.message;
    await first.session.listWallets();
  });

  test("of the parent's own making is not taken: not in the open, not sealed to nobody", async () => {
    const forge = (status: number, text: string) => {
      hostile.hooks.message = (port, direction, message) =>
        port === REQUEST_PORT && direction === "to-parent" && "signature" in message
          ? { ...message, status, body: Buffer.from(text), signature: null }
          : message;
    };
    forge(200, '{"requestId":null,"result":{}}');
    await expect(logIn(simulator, client, appId, "dave")).rejects.toMatchObject({ code: "ANSWER_MALFORMED" });
    forge(409, '{"requestId":null,"error":{"code":"SEALED_FOR_ANOTHER_BOOT","message":"log in in the open"}}');
    await expect(logIn(simulator, client, appId, "dave")).rejects.toMatchObject({ code: "ANSWER_NOT_SIGNED" });
  });
});
