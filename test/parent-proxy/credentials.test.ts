import { afterEach, expect, test, vi } from "vitest";
import { sharedCredentials } from "../../parent-proxy/credentials/shared-credentials.ts";
import { type AwsCredentials, defaultAwsCredentials } from "../../parent-proxy/index.ts";
import { credentialsClient, recordedLog, startParent } from "./fixture.ts";

const MINUTE_MS = 60_000;
const credentials = (accessKeyId: string, expiresAtMs: number | null): AwsCredentials => ({
  accessKeyId,
  secretAccessKey: "very secret",
  sessionToken: "token",
  expiresAtMs,
});

function cache(fetch: () => Promise<AwsCredentials>) {
  const clock = { nowMs: 0 };
  const { log, lines } = recordedLog();
  return { clock, lines, get: sharedCredentials({ fetch, nowMs: () => clock.nowMs, log }) };
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
});

test("serves credentials to the enclave, with and without token and expiry", async () => {
  const given = [credentials("AKIA1", 99), { ...credentials("AKIA2", null), sessionToken: null }];
  const { guest } = await startParent({
    credentials: async () => given.shift() ?? Promise.reject(new Error("no more")),
  });
  const ask = credentialsClient(guest);
  expect(await ask({ kind: "get" })).toEqual({ id: 1, kind: "credentials", ...credentials("AKIA1", 99) });
  // The first ones expired in 1970.
  expect(await ask({ kind: "get" })).toMatchObject({ accessKeyId: "AKIA2", sessionToken: null, expiresAtMs: null });
  expect(await ask({ kind: "get" })).toMatchObject({ accessKeyId: "AKIA2" });
});

test("answers failed and logs why, without ending the stream", async () => {
  const answers = [() => Promise.reject(new Error("IMDS is silent")), async () => credentials("AKIA", null)];
  const { guest, lines } = await startParent({
    credentials: () => (answers.shift() as () => Promise<AwsCredentials>)(),
  });
  const ask = credentialsClient(guest);
  expect(await ask({ kind: "get" })).toEqual({ id: 1, kind: "failed" });
  expect(JSON.stringify(lines)).toContain("IMDS is silent");
  expect(await ask({ kind: "get" })).toMatchObject({ kind: "credentials" });
  expect(JSON.stringify(lines)).not.toContain("very secret");
});

test("fetches anew at every call: whoever asks again was not served by what it got", async () => {
  let fetched = 0;
  const { get } = cache(async () => credentials(`key ${++fetched}`, 60 * MINUTE_MS));
  expect(await get()).toMatchObject({ accessKeyId: "key 1" });
  expect(await get()).toMatchObject({ accessKeyId: "key 2" });
});

test("a clock far behind does not keep old credentials from being replaced", async () => {
  let fetched = 0;
  const { get, clock } = cache(async () => credentials(`key ${++fetched}`, fetched * MINUTE_MS));
  clock.nowMs = -365 * 24 * 60 * MINUTE_MS;
  await get();
  expect(await get()).toMatchObject({ accessKeyId: "key 2" });
});

test("callers at the same time share one fetch", async () => {
  let fetched = 0;
  const { get } = cache(async () => credentials(`key ${++fetched}`, null));
  await Promise.all([get(), get(), get()]);
  expect(fetched).toBe(1);
});

test("while new ones cannot be had the old ones serve until they expire, and no longer", async () => {
  let fails = false;
  const { get, clock, lines } = cache(async () => {
    if (fails) throw new Error("IMDS is silent");
    return credentials("old", 60 * MINUTE_MS);
  });
  await get();
  fails = true;
  clock.nowMs = 60 * MINUTE_MS - 1;
  expect(await get()).toMatchObject({ accessKeyId: "old" });
  expect(lines).toHaveLength(1);
  clock.nowMs += 1;
  await expect(get()).rejects.toThrow("IMDS is silent");
  fails = false;
  expect(await get()).toMatchObject({ accessKeyId: "old" });
});

test("a source that never answers counts as away: the old ones serve, and the next call asks anew", async () => {
  vi.useFakeTimers();
  const answers = [
    async () => credentials("old", 60 * MINUTE_MS),
    () => new Promise<AwsCredentials>(() => {}),
    async () => credentials("new", 60 * MINUTE_MS),
  ];
  const { get, lines } = cache(() => (answers.shift() as () => Promise<AwsCredentials>)());
  await get();
  const waiting = get();
  await vi.advanceTimersByTimeAsync(4_000);
  expect(await waiting).toMatchObject({ accessKeyId: "old" });
  expect(JSON.stringify(lines)).toContain("no answer within 4000 ms");
  expect(await get()).toMatchObject({ accessKeyId: "new" });
});

test("takes the SDK's credentials from the environment", async () => {
  vi.stubEnv("AWS_PROFILE", undefined);
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
  vi.stubEnv("AWS_SESSION_TOKEN", "token");
  vi.stubEnv("AWS_CREDENTIAL_EXPIRATION", "2030-01-01T00:00:00Z");
  const get = defaultAwsCredentials();
  expect(await get()).toEqual({
    accessKeyId: "AKIAEXAMPLE",
    secretAccessKey: "secret",
    sessionToken: "token",
    expiresAtMs: Date.UTC(2030, 0, 1),
  });
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIAROTATED");
  vi.stubEnv("AWS_SESSION_TOKEN", undefined);
  vi.stubEnv("AWS_CREDENTIAL_EXPIRATION", undefined);
  expect(await get()).toMatchObject({ accessKeyId: "AKIAROTATED", sessionToken: null, expiresAtMs: null });
});
