import { afterEach, expect, test, vi } from "vitest";
import { cachedCredentials } from "../../parent-proxy/credentials/credential-cache.ts";
import { type AwsCredentials, defaultAwsCredentials } from "../../parent-proxy/index.ts";
import { credentialsClient, recordedLog, startParent } from "./fixture.ts";

const MINUTE_MS = 60_000;
const credentials = (accessKeyId: string, expiresAtMs: number | null): AwsCredentials => ({
  accessKeyId,
  secretAccessKey: "very secret",
  sessionToken: "token",
  expiresAtMs,
});

function cache(fetch: () => Promise<AwsCredentials>, random = 0) {
  const clock = { nowMs: 0 };
  const { log, lines } = recordedLog();
  return { clock, lines, get: cachedCredentials({ fetch, nowMs: () => clock.nowMs, random: () => random, log }) };
}

afterEach(() => vi.unstubAllEnvs());

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

test.each([
  ["five minutes, at the most jitter", 1, 5],
  ["four minutes, at the least", 0, 4],
])("refreshes %s before they expire", async (_name, random, minutes) => {
  let fetched = 0;
  const { get, clock } = cache(async () => credentials(`key ${++fetched}`, clock.nowMs + 60 * MINUTE_MS), random);
  await get();
  clock.nowMs = (60 - minutes) * MINUTE_MS - 1;
  expect(await get()).toMatchObject({ accessKeyId: "key 1" });
  clock.nowMs += 1;
  expect(await get()).toMatchObject({ accessKeyId: "key 2" });
});

test("asks again after fifteen minutes for credentials that do not expire", async () => {
  let fetched = 0;
  const { get, clock } = cache(async () => credentials(`key ${++fetched}`, null));
  await get();
  clock.nowMs = 15 * MINUTE_MS - 1;
  expect(await get()).toMatchObject({ accessKeyId: "key 1" });
  clock.nowMs += 1;
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
