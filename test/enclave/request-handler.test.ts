import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { StampVerifier } from "../../enclave/auth/verify-stamp.ts";
import type { Services } from "../../enclave/operations/handler.ts";
import { RequestHandler } from "../../enclave/request-handler.ts";
import { encodeHex, encodeRequest, encodeStamp, MAX_ANSWER_BYTES } from "../../protocol/index.ts";
import { generateKeyOf } from "../support/app-requests.ts";

/** One app, of a name so long that its list takes so many bytes. */
async function listOfApps(bytes: number): Promise<{ readonly status: number; readonly body: string }> {
  const key = await generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
  const nowMs = 1_800_000_000_000;
  const requestId = "00000000-0000-4000-8000-000000000000";
  const result = (name: string) => ({ apps: [{ appId: "app_1", name, version: 1 }], more: false });
  const around = JSON.stringify({ requestId, result: result("") }).length;
  const services = {
    manifest: { deployment: "test", administrators: { threshold: 1, publicKeys: [encodeHex(key.publicKey)] } },
    administratorsReplays: { checkTime: () => {}, claim: async () => false },
    onceForAll: { claim: async () => {} },
    apps: { list: async () => result("n".repeat(bytes - around)).apps },
    nowMs: () => nowMs,
  } as unknown as Services;
  const lines: string[] = [];
  const log = { info: (line: string) => lines.push(line), error: (line: string) => lines.push(line) };
  const handler = new RequestHandler({
    ...{ answerKey: generateKeyPairSync("ed25519").privateKey, boot: "00", stamps: new StampVerifier(), services },
    ...{ sealedRequests: { open: () => Promise.reject(new Error("nothing is sealed")) }, log: log as never },
  });
  const body = encodeRequest({
    ...{ operation: "list_apps", audience: "test", requestId, issuedAtMs: nowMs, params: { after: null } },
  });
  const stamp = encodeStamp({ scheme: key.scheme, publicKey: key.publicKey, signature: await key.sign(body) });
  const answer = await handler.handle({ body, stamps: [stamp] });
  return { status: answer.status, body: Buffer.from(answer.body).toString() };
}

test("an answer that no frame holds is refused in its place, and one byte less is given", async () => {
  const given = await listOfApps(MAX_ANSWER_BYTES);
  expect(given.status).toBe(200);
  expect(given.body.length).toBe(MAX_ANSWER_BYTES);
  const { status, body } = await listOfApps(MAX_ANSWER_BYTES + 1);
  expect(status).toBe(413);
  expect(JSON.parse(body)).toMatchObject({ error: { code: "ANSWER_TOO_LARGE" } });
});
