import { beforeEach, describe, expect, test } from "vitest";
import { type Client, connect, generateStampKey, type StampKey } from "../../client/index.ts";
import { ANSWER_SIGNATURE_HEADER, decodeStamp, encodeHex } from "../../protocol/index.ts";
import { FakeEnclave, MANIFEST_DIGEST, NOW } from "./fake-enclave.ts";

const APP = `app_${"0".repeat(32)}`;
const REQUEST_ID = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";

let enclave: FakeEnclave;
let key: StampKey;
beforeEach(async () => {
  enclave = new FakeEnclave();
  key = await generateStampKey();
});

async function list(client?: Client) {
  const connected = client ?? (await connect(enclave.options));
  return connected.call("list_wallets", { after: null }, { appId: APP, keys: [key] });
}

describe("a request", () => {
  test("says what is asked in its body, dated by the enclave's clock, with a stamp over it", async () => {
    expect(await list()).toEqual({ wallets: [], more: false });
    const [request] = enclave.requests;
    expect(request).toMatchObject({
      path: "/v1/list_wallets",
      redirect: "error",
      envelope: { operation: "list_wallets", audience: `test/${APP}`, issuedAtMs: NOW, params: { after: null } },
    });
    const [stamp = ""] = request?.stamps ?? [];
    expect(encodeHex(decodeStamp(stamp).publicKey)).toBe(encodeHex(key.publicKey));
  });

  test("has an id of its own, or the one that it is given", async () => {
    const client = await connect(enclave.options);
    await list(client);
    await list(client);
    const keys = [key];
    await client.call("list_wallets", { after: null }, { appId: APP, keys, requestId: REQUEST_ID });
    const ids = enclave.requests.map(({ envelope }) => envelope.requestId);
    expect(new Set(ids).size).toBe(3);
    expect(ids[2]).toBe(REQUEST_ID);
  });

  test("carries as many stamps as there are keys, each its own key's", async () => {
    const keys = [key, await generateStampKey(), await generateStampKey()];
    const client = await connect(enclave.options);
    await client.call("list_wallets", { after: null }, { appId: APP, keys });
    const stamped = enclave.requests[0]?.stamps.map((stamp) => encodeHex(decodeStamp(stamp).publicKey));
    expect(stamped).toEqual(keys.map(({ publicKey }) => encodeHex(publicKey)));
  });

  test("is dated on from the document by the monotonic clock, whatever the wall clock does", async () => {
    let monotonicMs = 500;
    const client = await connect({ ...enclave.options, monotonicMs: () => monotonicMs });
    monotonicMs = 1_750.9;
    await list(client);
    expect(enclave.requests[0]?.envelope.issuedAtMs).toBe(NOW + 1_250);
  });
});

describe("an enclave that was started anew", () => {
  test("is asked for its document, and then believed", async () => {
    const client = await connect(enclave.options);
    enclave.restart();
    await list(client);
    expect(enclave.attestations).toBe(2);
    await list(client);
    expect(enclave.attestations).toBe(2);
  });

  test("is refused if its document is of another manifest", async () => {
    const client = await connect(enclave.options);
    enclave.restart();
    enclave.userData = { manifest: MANIFEST_DIGEST.map((byte) => byte ^ 1) };
    await expect(list(client)).rejects.toMatchObject({ code: "MANIFEST_MISMATCH" });
  });
});

describe("UNREACHABLE", () => {
  test("with the reason that Node gives, and none where there is none to read", async () => {
    const failing = (error: unknown) =>
      connect({ ...enclave.options, attempts: 1, fetch: () => Promise.reject(error) });
    const refused = new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }) });
    await expect(failing(refused)).rejects.toThrow(/^no answer from .* \(ECONNREFUSED\)$/);
    const odd = new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "\u001b[2J" }) });
    for (const other of [new TypeError("Failed to fetch"), odd]) {
      await expect(failing(other)).rejects.toThrow(new RegExp(`^no answer from ${enclave.options.url}$`));
    }
  });

  test("for a network that fails, at the document and at the request", async () => {
    const fetch = () => Promise.reject(new TypeError("fetch failed"));
    await expect(connect({ ...enclave.options, fetch })).rejects.toMatchObject({ code: "UNREACHABLE" });
    const client = await connect(enclave.options);
    enclave.relay = () => {
      throw new TypeError("fetch failed");
    };
    await expect(list(client)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  test("for an answer that is cut off", async () => {
    const client = await connect(enclave.options);
    enclave.relay = () =>
      new Response(new ReadableStream({ start: (controller) => controller.error(new Error("cut")) }));
    await expect(list(client)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("a document", () => {
  test.each([404, 500, 503])("that is a status %d is ATTESTATION_UNAVAILABLE", async (status) => {
    enclave.relay = () => new Response("{}", { status });
    await expect(connect(enclave.options)).rejects.toMatchObject({ code: "ATTESTATION_UNAVAILABLE" });
  });

  test("for KMS is ATTESTATION_NOT_FOR_CALLERS", async () => {
    enclave.userData = { purpose: "cloister/kms-recipient/v1" };
    await expect(connect(enclave.options)).rejects.toMatchObject({ code: "ATTESTATION_NOT_FOR_CALLERS" });
  });

  test("of another manifest is MANIFEST_MISMATCH, unless the image alone is expected", async () => {
    enclave.userData = { manifest: new Uint8Array(32) };
    await expect(connect(enclave.options)).rejects.toMatchObject({ code: "MANIFEST_MISMATCH" });
    const expected = { ...enclave.expected, manifestDigest: "covered-by-pcrs" } as const;
    await expect(connect({ ...enclave.options, expected })).resolves.toBeDefined();
  });

  test.each([new Uint8Array(16), null])(
    "of another vault, or of none, is VAULT_MISMATCH, unless any is taken",
    async (vault) => {
      enclave.userData = { vault };
      await expect(connect(enclave.options)).rejects.toMatchObject({ code: "VAULT_MISMATCH" });
      const expected = { ...enclave.expected, vaultId: "any" } as const;
      expect((await connect({ ...enclave.options, expected })).vaultId).toEqual(vault);
    },
  );
});

describe("a refusal", () => {
  test("of the enclave carries its code, and that it was the enclave's", async () => {
    enclave.answer = ({ envelope }) => ({
      status: 403,
      json: { requestId: envelope.requestId, error: { code: "POLICY_DENIED", message: "no" } },
    });
    await expect(list()).rejects.toMatchObject({
      name: "RefusedError",
      code: "POLICY_DENIED",
      message: "no",
      isFromEnclave: true,
    });
  });

  const parentBusy = { requestId: null, error: { code: "PARENT_BUSY", message: "later" } };

  test("of the parent is told apart", async () => {
    enclave.answer = () => ({ status: 429, signed: false, json: parentBusy });
    await expect(list()).rejects.toMatchObject({ name: "RefusedError", code: "PARENT_BUSY", isFromEnclave: false });
  });

  test("in the enclave's name without its signature is ANSWER_NOT_SIGNED", async () => {
    const error = { code: "POLICY_DENIED", message: "says the parent" };
    enclave.answer = () => ({ status: 403, signed: false, json: { requestId: null, error } });
    await expect(list()).rejects.toMatchObject({ name: "ClientError", code: "ANSWER_NOT_SIGNED" });
  });
});

test("ANSWER_NOT_SIGNED for a result without a signature", async () => {
  enclave.answer = ({ envelope }) => ({
    signed: false,
    json: { requestId: envelope.requestId, result: { wallets: [], more: false } },
  });
  await expect(list()).rejects.toMatchObject({ code: "ANSWER_NOT_SIGNED" });
});

describe("ANSWER_SIGNATURE_INVALID", () => {
  /** The same answer with another signature, body or status. */
  function resent(response: Response, changes: { body?: string; status?: number; signature?: string }): Response {
    const headers = new Headers(response.headers);
    if (changes.signature !== undefined) headers.set(ANSWER_SIGNATURE_HEADER, changes.signature);
    return new Response(changes.body ?? response.body, { status: changes.status ?? response.status, headers });
  }

  test.each<[string, { body?: string; status?: number; signature?: string }]>([
    ["a signature that is no base64url", { signature: "!" }],
    ["an empty signature", { signature: "" }],
    ["a signature of another length", { signature: "AAAA" }],
    ["somebody else's signature", { signature: "A".repeat(86) }],
    ["another status", { status: 201 }],
    ["another body", { body: `{"requestId":"${REQUEST_ID}","result":{"wallets":[],"more":true}}` }],
  ])("for %s, after another look at the document", async (_what, changes) => {
    const client = await connect(enclave.options);
    enclave.relay = (response, url) => (url.pathname === "/v1/attestation" ? response : resent(response, changes));
    await expect(list(client)).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
  });

  test("for the enclave's answer to another request", async () => {
    const client = await connect(enclave.options);
    const recorded: Response[] = [];
    enclave.relay = (response, url) => {
      if (url.pathname === "/v1/attestation") return response;
      recorded.push(response.clone());
      return recorded[0]?.clone() ?? response;
    };
    await list(client);
    await expect(list(client)).rejects.toMatchObject({ code: "ANSWER_SIGNATURE_INVALID" });
  });
});

describe("ANSWER_MALFORMED, though the enclave signed it,", () => {
  test.each<[string, (requestId: string) => object]>([
    ["for another request's id", () => ({ requestId: REQUEST_ID, result: { wallets: [], more: false } })],
    ["for no request's id", () => ({ requestId: null, result: { wallets: [], more: false } })],
    ["for a result of another operation", (requestId) => ({ requestId, result: { appId: APP } })],
    ["for a result with an unknown field", (requestId) => ({ requestId, result: { wallets: [], more: false, x: 1 } })],
    ["for neither result nor error", (requestId) => ({ requestId })],
    ["for an unknown code", (requestId) => ({ requestId, error: { code: "ALL_IS_WELL", message: "" } })],
    ["for a list", () => []],
  ])("%s", async (_what, json) => {
    enclave.answer = ({ envelope }) => ({ json: json(envelope.requestId) });
    await expect(list()).rejects.toMatchObject({ code: "ANSWER_MALFORMED" });
  });

  test("and for what is no JSON, signed or not", async () => {
    const client = await connect(enclave.options);
    enclave.relay = () => new Response("<html>bad gateway</html>", { status: 502 });
    await expect(list(client)).rejects.toMatchObject({ code: "ANSWER_MALFORMED" });
  });
});
