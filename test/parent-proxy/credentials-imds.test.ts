/** The SDK's own provider against the metadata service: what the parent gets from it, and what it makes of its troubles. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { sharedCredentials } from "../../parent-proxy/credentials/shared-credentials.ts";
import { defaultAwsCredentials } from "../../parent-proxy/index.ts";
import { type ImdsTrouble, type Lifetime, startSimulatedImds } from "../../simulator/imds/index.ts";
import { instanceEnvironment } from "../../simulator/imds/instance-role.ts";
import { recordedLog, temporaryFolder } from "./fixture.ts";

const HOUR_MS = 60 * 60_000;

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

async function startInstance(trouble: ImdsTrouble = { kind: "none" }) {
  const clock = { offsetMs: 0 };
  const nowMs = () => Date.now() + clock.offsetMs;
  const issued: Lifetime[] = [];
  const requests: string[] = [];
  const imds = await startSimulatedImds({
    roleName: "signer",
    nowMs,
    trouble,
    issue: (lifetime) => {
      issued.push(lifetime);
      return { accessKeyId: `ASIA${issued.length}`, secretAccessKey: "very secret", sessionToken: "token" };
    },
    log: ({ method, path, status }) => requests.push(`${method} ${path} ${status}`),
  });
  onTestFinished(() => imds.close());
  const folder = await temporaryFolder();
  const environment = instanceEnvironment(imds, process.env, folder);
  for (const name of new Set([...Object.keys(process.env), ...Object.keys(environment)])) {
    if (process.env[name] !== environment[name]) vi.stubEnv(name, environment[name]);
  }
  const { log, lines } = recordedLog();
  const get = sharedCredentials({ fetch: defaultAwsCredentials(), nowMs, log });
  return { imds, clock, issued, requests, folder, get, lines };
}

test("takes the role's credentials by IMDSv2, and the new ones before the old expire", async () => {
  const { get, issued, requests, clock } = await startInstance();
  expect(await get()).toEqual({
    accessKeyId: "ASIA1",
    secretAccessKey: "very secret",
    sessionToken: "token",
    expiresAtMs: issued[0]?.expiresAtMs,
  });
  expect(requests).toEqual([
    "PUT /latest/api/token 200",
    "GET /latest/meta-data/iam/security-credentials/ 200",
    "GET /latest/meta-data/iam/security-credentials/signer 200",
  ]);
  clock.offsetMs = 6 * HOUR_MS - 5 * 60_000;
  expect(await get()).toMatchObject({ accessKeyId: "ASIA2", expiresAtMs: issued[1]?.expiresAtMs });
  expect(issued).toHaveLength(2);
});

test("asks nobody else: what is in the home folder stays there", async () => {
  const { get, folder } = await startInstance();
  vi.stubEnv("HOME", folder);
  await mkdir(join(folder, ".aws"));
  const mine = "[default]\naws_access_key_id=AKIAMINE\naws_secret_access_key=mine\n";
  await writeFile(join(folder, ".aws", "credentials"), mine);
  expect(await get()).toMatchObject({ accessKeyId: "ASIA1" });
  // The control: but for this variable the SDK would find them.
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", undefined);
  expect(await defaultAwsCredentials()()).toMatchObject({ accessKeyId: "AKIAMINE" });
});

test.each<[string, ImdsTrouble]>([
  ["is not there", { kind: "unreachable" }],
  ["fails", { kind: "error", status: 500 }],
  ["is slower than the SDK waits", { kind: "slow", delayMs: HOUR_MS }],
])("where it %s: no credentials at first, the old ones later, and new ones when it is back", async (_what, trouble) => {
  const { imds, clock, get, lines } = await startInstance(trouble);
  await expect(get()).rejects.toThrow("Could not load credentials from any providers");
  await imds.setTrouble({ kind: "none" });
  expect(await get()).toMatchObject({ accessKeyId: "ASIA1" });
  await imds.setTrouble(trouble);
  expect(await get()).toMatchObject({ accessKeyId: "ASIA1" });
  clock.offsetMs = 6 * HOUR_MS;
  await expect(get()).rejects.toThrow("Could not load credentials from any providers");
  expect(lines).toHaveLength(3);
  await imds.setTrouble({ kind: "none" });
  expect(await get()).toMatchObject({ accessKeyId: "ASIA2" });
  expect(JSON.stringify(lines)).not.toContain("very secret");
});

test("a metadata service whose clock is wrong is believed no longer than until the next call", async () => {
  // The SDK says on the console that it uses credentials beyond their expiry.
  const warned = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { imds, get, issued } = await startInstance({ kind: "wrong-clock", skewMs: -24 * HOUR_MS });
  expect(await get()).toMatchObject({ accessKeyId: "ASIA1" });
  expect(warned).toHaveBeenCalled();
  await imds.setTrouble({ kind: "wrong-clock", skewMs: 24 * HOUR_MS });
  expect(await get()).toMatchObject({
    accessKeyId: "ASIA1",
    expiresAtMs: (issued[0]?.expiresAtMs ?? 0) + 24 * HOUR_MS,
  });
  await imds.setTrouble({ kind: "none" });
  expect(await get()).toMatchObject({ expiresAtMs: issued[0]?.expiresAtMs });
});
