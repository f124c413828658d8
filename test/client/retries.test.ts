/** Which failures are tried again, how often, and that each try is the same request dated anew. */
import { expect, test } from "vitest";
import { connect, generateStampKey } from "../../client/index.ts";
import { retryDelayMs } from "../../client/retries.ts";
import { ERROR_CODES, type ErrorCode } from "../../protocol/index.ts";
import { FakeEnclave } from "./fake-enclave.ts";

const APP = `app_${"0".repeat(32)}`;

async function callOf(code: ErrorCode, failures: number, attempts?: number, retryAfter?: string) {
  const enclave = new FakeEnclave();
  enclave.relay = (response) => {
    if (retryAfter !== undefined) response.headers.set("retry-after", retryAfter);
    return response;
  };
  const slept: number[] = [];
  let left = failures;
  enclave.answer = ({ envelope: { requestId } }) => {
    left -= 1;
    if (left < 0) return { json: { requestId, result: { wallets: [], more: false } } };
    const { status } = ERROR_CODES[code];
    return { status, json: { requestId, error: { code, message: "no" } }, signed: !code.startsWith("PARENT_") };
  };
  const sleep = async (ms: number) => {
    slept.push(ms);
    enclave.nowMs += Math.ceil(ms);
  };
  const client = await connect({ ...enclave.options, sleep, ...(attempts === undefined ? {} : { attempts }) });
  const key = await generateStampKey();
  const outcome = await client.call("list_wallets", { after: null }, { appId: APP, keys: [key] }).then(
    () => "done",
    (error: { code: string }) => error.code,
  );
  return { outcome, slept, ids: enclave.requests.map(({ envelope }) => envelope.requestId) };
}

test.each(["BUSY", "NOT_READY", "RECORDS_UNAVAILABLE", "PARENT_BUSY", "PARENT_OVER_SHARE", "PARENT_TIMEOUT"] as const)(
  "%s is tried again under the same id, three times in all",
  async (code) => {
    const twice = await callOf(code, 2);
    expect(twice.outcome).toBe("done");
    expect(twice.ids).toHaveLength(3);
    expect(new Set(twice.ids).size).toBe(1);
    expect(twice.slept).toHaveLength(2);
    expect((await callOf(code, 3)).outcome).toBe(code);
    expect((await callOf(code, 1, 1)).outcome).toBe(code);
  },
);

test("Retry-After is waited for, with what is added by chance, and the same request asked again", async () => {
  for (const code of ["BUSY", "PARENT_OVER_SHARE"] as const) {
    const { outcome, slept, ids } = await callOf(code, 2, 3, "2");
    expect([outcome, new Set(ids).size, ids.length]).toEqual(["done", 1, 3]);
    expect(slept.every((ms) => ms > 2_000 && ms <= 2_400)).toBe(true);
    expect(slept[0]).not.toBe(slept[1]);
  }
});

test("a Retry-After of a year, or of no meaning, does not hold a client up", async () => {
  const { outcome, slept } = await callOf("PARENT_BUSY", 2, 3, String(365 * 86_400));
  expect(outcome).toBe("done");
  expect(slept.every((ms) => ms <= 10_400)).toBe(true);
  for (const header of ["9".repeat(400), "-5", "1e9", "Infinity", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", " "]) {
    expect((await callOf("BUSY", 1, 2, header)).slept.every((ms) => ms <= 200)).toBe(true);
  }
});

test("what is not worth another try is not tried again for a Retry-After", async () => {
  expect((await callOf("SECOND_FACTOR_LOCKED", 1, 3, "1")).ids).toHaveLength(1);
});

test.each([
  "POLICY_DENIED",
  "SESSION_UNKNOWN",
  "REQUEST_REPLAYED",
  "INTERNAL",
  "RECORD_TAMPERED",
  "PARENT_INTERNAL",
] as const)("%s is not tried again", async (code) => {
  const { outcome, ids } = await callOf(code, 1);
  expect([outcome, ids.length]).toEqual([code, 1]);
});

test("what is no enclave's answer is not tried again, and no answer is", async () => {
  for (const [failure, expected, tries] of [
    ["forged", "ANSWER_NOT_SIGNED", 1],
    ["cut off", "UNREACHABLE", 3],
  ] as const) {
    const enclave = new FakeEnclave();
    let asked = 0;
    enclave.answer = ({ envelope: { requestId } }) => ({ json: { requestId, result: {} }, signed: false });
    const fetch: typeof globalThis.fetch = async (input, init) => {
      if (init?.method === "POST") asked += 1;
      if (init?.method === "POST" && failure === "cut off") throw new TypeError("fetch failed");
      return enclave.options.fetch?.(input, init) ?? Response.error();
    };
    const client = await connect({ ...enclave.options, fetch, sleep: async () => {} });
    const call = client.call("list_wallets", { after: null }, { appId: APP, keys: [await generateStampKey()] });
    await expect(call).rejects.toMatchObject({ code: expected });
    expect(asked).toBe(tries);
  }
});

test("the wait doubles, varies, and has an end", () => {
  for (let attempt = 1; attempt < 12; attempt += 1) {
    const longest = Math.min(5_000, 200 * 2 ** (attempt - 1));
    const delay = retryDelayMs(attempt);
    expect(delay).toBeGreaterThanOrEqual(longest / 2);
    expect(delay).toBeLessThanOrEqual(longest);
  }
});
