/** The metadata service, asked as EC2's is. */
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { type SimulatedImdsOptions, startSimulatedImds } from "../../simulator/imds/index.ts";
import { instanceEnvironment } from "../../simulator/imds/instance-role.ts";
import { parseTtl, SessionTokens } from "../../simulator/imds/session-token.ts";

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
const HOUR_MS = 60 * 60_000;
const ROLES = "/latest/meta-data/iam/security-credentials/";

async function start(options: Partial<SimulatedImdsOptions> = {}) {
  const clock = { nowMs: START_MS };
  const answered: string[] = [];
  let issued = 0;
  const imds = await startSimulatedImds({
    roleName: "signer",
    nowMs: () => clock.nowMs,
    issue: () => {
      issued += 1;
      return { accessKeyId: `ASIA${issued}`, secretAccessKey: "very secret", sessionToken: `token ${issued}` };
    },
    log: ({ method, path, status }) => answered.push(`${method} ${path} ${status}`),
    ...options,
  });
  onTestFinished(() => imds.close());
  const ask = async (path: string, headers: Record<string, string> = {}, method = "GET") => {
    const response = await fetch(imds.endpoint + path, { method, headers });
    return { status: response.status, body: await response.text(), headers: response.headers };
  };
  const askToken = (headers: Record<string, string>) => ask("/latest/api/token", headers, "PUT");
  const token = async (ttlS = 21_600) =>
    (await askToken({ "x-aws-ec2-metadata-token-ttl-seconds": String(ttlS) })).body;
  const credentials = async () => {
    const { body } = await ask(`${ROLES}signer`, { "x-aws-ec2-metadata-token": await token() });
    return JSON.parse(body) as Record<string, string>;
  };
  return { imds, clock, answered, ask, askToken, token, credentials };
}

describe("the session token", () => {
  test("is given for a PUT with a time to live, which it repeats", async () => {
    const { askToken } = await start();
    const { status, body, headers } = await askToken({ "x-aws-ec2-metadata-token-ttl-seconds": "60" });
    expect(status).toBe(200);
    expect(body).toMatch(/^[\w-]{50,}$/);
    expect(headers.get("x-aws-ec2-metadata-token-ttl-seconds")).toBe("60");
  });

  test.each(["0", "21601", "-1", "1.5", "", " ", "1e3", "060", "99999999999"])(
    "is refused for %j seconds",
    async (ttl) => {
      const { askToken } = await start();
      expect((await askToken({ "x-aws-ec2-metadata-token-ttl-seconds": ttl })).status).toBe(400);
    },
  );

  test("may live from one second to six hours", () => {
    expect([parseTtl("1"), parseTtl("21600")]).toEqual([1, 21_600]);
  });

  test("is refused without a time to live, and to what a proxy passed on", async () => {
    const { askToken } = await start();
    expect((await askToken({})).status).toBe(400);
    const forwarded = { "x-aws-ec2-metadata-token-ttl-seconds": "60", "x-forwarded-for": "10.0.0.1" };
    expect((await askToken(forwarded)).status).toBe(403);
  });

  test("is refused to any method but PUT", async () => {
    const { ask } = await start();
    const { status, headers } = await ask("/latest/api/token", { "x-aws-ec2-metadata-token-ttl-seconds": "60" });
    expect([status, headers.get("allow")]).toEqual([405, "PUT"]);
  });

  test("opens nothing when it has expired", async () => {
    const { ask, token, clock } = await start();
    const headers = { "x-aws-ec2-metadata-token": await token(60) };
    clock.nowMs += 59_999;
    expect((await ask(ROLES, headers)).status).toBe(200);
    clock.nowMs += 1;
    expect((await ask(ROLES, headers)).status).toBe(401);
  });

  test("opens nothing when it is missing, of another service, or changed", async () => {
    const { ask, token } = await start();
    expect((await ask(ROLES)).status).toBe(401);
    const other = await (await start()).token();
    expect((await ask(ROLES, { "x-aws-ec2-metadata-token": other })).status).toBe(401);
    const good = await token();
    expect((await ask(ROLES, { "x-aws-ec2-metadata-token": `${good}, ${good}` })).status).toBe(401);
    expect((await ask(ROLES, { "x-aws-ec2-metadata-token": good })).status).toBe(200);
  });

  test("cannot be made up", () => {
    const tokens = new SessionTokens();
    const good = tokens.issue(60, START_MS);
    expect(tokens.accepts(good, START_MS)).toBe(true);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.constantFrom(..."Aa0-_"), (at, character) => {
        const changed = good.slice(0, at) + character + good.slice(at + 1);
        return changed === good || !tokens.accepts(changed, START_MS);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => !tokens.accepts(text, START_MS)));
  });
});

describe("the role's credentials", () => {
  test("are described as EC2 does, in whole seconds", async () => {
    const { ask, token, clock } = await start();
    clock.nowMs += 678;
    const headers = { "x-aws-ec2-metadata-token": await token() };
    expect((await ask(ROLES, headers)).body).toBe("signer");
    const { status, body } = await ask(`${ROLES}signer`, headers);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({
      Code: "Success",
      LastUpdated: "2026-01-02T03:04:05Z",
      Type: "AWS-HMAC",
      AccessKeyId: "ASIA1",
      SecretAccessKey: "very secret",
      Token: "token 1",
      Expiration: "2026-01-02T09:04:05Z",
    });
  });

  test("are there for this role only, and nothing else is", async () => {
    const { ask, token, answered } = await start();
    const headers = { "x-aws-ec2-metadata-token": await token() };
    for (const path of [`${ROLES}other`, `${ROLES}signer/`, "/latest/meta-data/", "/", `${ROLES}signer?x=1`]) {
      expect((await ask(path, headers)).status).toBe(404);
    }
    expect((await ask(`${ROLES}signer`, headers, "POST")).status).toBe(405);
    expect(await ask(`${ROLES}signer`, headers, "HEAD")).toMatchObject({ status: 200, body: "" });
    expect(answered.slice(0, 2)).toEqual(["PUT /latest/api/token 200", `GET ${ROLES}other 404`]);
  });

  test("are replaced five minutes before they expire, and not before", async () => {
    const lifetimes: number[] = [];
    let issued = 0;
    const { credentials, clock } = await start({
      issue: ({ issuedAtMs, expiresAtMs }) => {
        lifetimes.push(issuedAtMs, expiresAtMs);
        issued += 1;
        return { accessKeyId: `ASIA${issued}`, secretAccessKey: "s", sessionToken: "t" };
      },
    });
    await credentials();
    clock.nowMs = START_MS + 6 * HOUR_MS - 5 * 60_000 - 1;
    expect(await credentials()).toMatchObject({ AccessKeyId: "ASIA1" });
    clock.nowMs += 1;
    expect(await credentials()).toMatchObject({ AccessKeyId: "ASIA2", Expiration: "2026-01-02T14:59:05Z" });
    expect(lifetimes).toEqual([START_MS, START_MS + 6 * HOUR_MS, clock.nowMs, clock.nowMs + 6 * HOUR_MS]);
  });
});

describe("trouble on demand", () => {
  test("nobody answers, and then somebody does, at the same place", async () => {
    const { imds, credentials } = await start({ trouble: { kind: "unreachable" } });
    await expect(credentials()).rejects.toMatchObject({ cause: { code: "ECONNRESET" } });
    await imds.setTrouble({ kind: "none" });
    expect(await credentials()).toMatchObject({ AccessKeyId: "ASIA1" });
    await imds.setTrouble({ kind: "unreachable" });
    await expect(credentials()).rejects.toThrow();
  });

  test("every request fails", async () => {
    const { askToken } = await start({ trouble: { kind: "error", status: 503 } });
    expect((await askToken({ "x-aws-ec2-metadata-token-ttl-seconds": "60" })).status).toBe(503);
  });

  test("answers wait, and closing does not wait for them", async () => {
    const { imds, ask } = await start({ trouble: { kind: "slow", delayMs: 10 * 60_000 } });
    const waiting = expect(ask("/")).rejects.toThrow();
    await expect(fetch(imds.endpoint, { signal: AbortSignal.timeout(50) })).rejects.toThrow("timeout");
    await imds.close();
    await waiting;
  });

  test("credentials that have expired are handed out until there is rotation again", async () => {
    const { imds, credentials, clock } = await start();
    await credentials();
    await imds.setTrouble({ kind: "stale" });
    clock.nowMs += 7 * HOUR_MS;
    expect(await credentials()).toMatchObject({ AccessKeyId: "ASIA1", Expiration: "2026-01-02T09:04:05Z" });
    await imds.setTrouble({ kind: "none" });
    expect(await credentials()).toMatchObject({ AccessKeyId: "ASIA2" });
  });

  test("every time is off, and the rotation is not", async () => {
    const { credentials, ask } = await start({ trouble: { kind: "wrong-clock", skewMs: -24 * HOUR_MS } });
    const first = await credentials();
    expect(first).toMatchObject({ LastUpdated: "2026-01-01T03:04:05Z", Expiration: "2026-01-01T09:04:05Z" });
    expect(await credentials()).toEqual(first);
    expect((await ask("/")).headers.get("date")).toBe("Thu, 01 Jan 2026 03:04:05 GMT");
  });
});

test("refuses options that cannot be", async () => {
  await expect(start({ roleName: "a/b" })).rejects.toMatchObject({ code: "INVALID_ROLE_NAME" });
  for (const lifetime of [
    { lifetimeMs: 0 },
    { lifetimeMs: 1500 },
    { lifetimeMs: 300_000 },
    { offeredBeforeExpiryMs: -1 },
  ]) {
    await expect(start(lifetime)).rejects.toMatchObject({ code: "INVALID_LIFETIME" });
  }
  await expect(start({ trouble: { kind: "slow", delayMs: -1 } })).rejects.toMatchObject({ code: "INVALID_TROUBLE" });
  const { imds } = await start();
  await expect(imds.setTrouble({ kind: "wrong-clock", skewMs: Number.NaN })).rejects.toMatchObject({
    code: "INVALID_TROUBLE",
  });
});

test("a process on the instance has no other source of credentials", async () => {
  const { imds } = await start();
  const mine = { PATH: "/bin", AWS_PROFILE: "me", AWS_ACCESS_KEY_ID: "AKIA", aws_session_token: "x", HOME: "/home/me" };
  expect(instanceEnvironment(imds, mine, "/run/x")).toEqual({
    PATH: "/bin",
    HOME: "/home/me",
    AWS_CONFIG_FILE: "/run/x/no-aws-config",
    AWS_SHARED_CREDENTIALS_FILE: "/run/x/no-aws-credentials",
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.endpoint,
  });
});
