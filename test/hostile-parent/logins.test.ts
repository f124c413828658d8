/** Tokens that are stale, stolen, or were never the issuer's; and a parent who would serve keys of its own. */
import { createHmac } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type StampKey } from "../../client/index.ts";
import { EGRESS_PORT, encodeBase64url } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { AUDIENCE, appParams, createApp, logIn } from "../support/app.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let key: StampKey;
let nonce: string;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createApp(simulator, client);
  key = await generateStampKey();
  nonce = await loginNonce(key);
});
afterAll(() => simulator.stop());

const nowS = () => Math.floor(simulator.nowMs() / 1000);

function claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const now = nowS();
  return { iss: simulator.issuer.issuer, sub: "alice", aud: AUDIENCE, nonce, iat: now, exp: now + 300, ...changes };
}

async function codeOfLogin(jwt: string, stampKey = key): Promise<string> {
  try {
    await client.login({ appId, jwt, key: stampKey });
    return "accepted";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("the issuer's token for this key is accepted, with each algorithm that the app names", async () => {
  for (const algorithm of ["RS256", "PS256", "ES256", "EdDSA"] as const) {
    const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce, algorithm });
    expect(await codeOfLogin(jwt)).toBe("accepted");
  }
});

describe("a token that is refused", () => {
  test("captured by the parent and used with a key of its own", async () => {
    const { jwt } = await logIn(simulator, client, appId, "victim");
    const own = await generateStampKey();
    const body = requestBody(simulator, { operation: "register_session", appId, params: { jwt } });
    expect((await send(simulator, body, own)).code).toBe("JWT_NONCE_MISMATCH");
    // Sealed by the parent itself: what is bound to a key stays bound, since it may have travelled in the open.
    expect(await codeOfLogin(jwt, own)).toBe("JWT_NONCE_MISMATCH");
    const issuersOwn = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce: "n-0S6_WzA2Mj" });
    expect(await codeOfLogin(issuersOwn, own)).toBe("accepted");
  });

  test("without any nonce, unless it is sealed", async () => {
    const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE });
    // In the open, where a parent could have taken it. Sealed, as the client sends it, nobody can.
    const body = requestBody(simulator, { operation: "register_session", appId, params: { jwt } });
    expect((await send(simulator, body, key)).code).toBe("JWT_NONCE_MISMATCH");
    expect(await codeOfLogin(jwt)).toBe("accepted");
  });

  test("expired", async () => {
    const jwt = await simulator.issuer.mint({
      subject: "alice",
      audience: AUDIENCE,
      nonce,
      claims: { iat: nowS() - 600, exp: nowS() - 60 },
    });
    expect(await codeOfLogin(jwt)).toBe("JWT_EXPIRED");
  });

  test("not valid yet", async () => {
    const jwt = await simulator.issuer.mint({
      subject: "alice",
      audience: AUDIENCE,
      nonce,
      claims: { nbf: nowS() + 120 },
    });
    expect(await codeOfLogin(jwt)).toBe("JWT_NOT_YET_VALID");
  });

  test("for another audience, or for another party of the same issuer", async () => {
    const other = await simulator.issuer.mint({ subject: "alice", audience: "another-app", nonce });
    expect(await codeOfLogin(other)).toBe("JWT_AUDIENCE_MISMATCH");
    const claimed = { subject: "alice", audience: AUDIENCE, nonce, claims: { azp: "another-app" } };
    expect(await codeOfLogin(await simulator.issuer.mint(claimed))).toBe("JWT_AUDIENCE_MISMATCH");
  });

  test("of an issuer that the app does not name", async () => {
    const { privateKey } = await generateKeyPair("RS256");
    const jwt = await new SignJWT(claims({ iss: "https://evil.example" }))
      .setProtectedHeader({ alg: "RS256", kid: "1" })
      .sign(privateKey);
    expect(await codeOfLogin(jwt)).toBe("JWT_ISSUER_UNKNOWN");
  });

  test("signed by another issuer's key, under a kid that is the issuer's or nobody's", async () => {
    const { privateKey } = await generateKeyPair("RS256");
    const genuine = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce });
    const { kid } = JSON.parse(Buffer.from(genuine.split(".")[0] ?? "", "base64url").toString()) as { kid: string };
    const forge = (header: { kid: string }) =>
      new SignJWT(claims()).setProtectedHeader({ alg: "RS256", ...header }).sign(privateKey);
    expect(await codeOfLogin(await forge({ kid }))).toBe("JWT_SIGNATURE_INVALID");
    expect(await codeOfLogin(await forge({ kid: "unknown" }))).toBe("JWT_KEY_UNKNOWN");
  });

  test("that brings its own key along in its header", async () => {
    const { privateKey, publicKey } = await generateKeyPair("RS256");
    const jwt = await new SignJWT(claims())
      .setProtectedHeader({ alg: "RS256", jwk: await exportJWK(publicKey), jku: "https://evil.example/jwks.json" })
      .sign(privateKey);
    expect(await codeOfLogin(jwt)).toMatch(/^JWT_(KEY_UNKNOWN|SIGNATURE_INVALID)$/);
  });

  test("with alg none", async () => {
    const unsigned = new UnsecuredJWT(claims()).encode();
    expect(await codeOfLogin(unsigned)).toMatch(/^JWT_(ALGORITHM_NOT_ALLOWED|MALFORMED)$/);
    const [, payload = ""] = unsigned.split(".");
    const header = encodeBase64url(new TextEncoder().encode('{"alg":"none","typ":"JWT"}'));
    expect(await codeOfLogin(`${header}.${payload}.AAAA`)).toBe("JWT_ALGORITHM_NOT_ALLOWED");
  });

  test("with HS256 under the issuer's public RSA key", async () => {
    const encode = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
    const input = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims())}`;
    const mac = createHmac("sha256", await simulator.issuer.signingKeyPublicPem("RS256"))
      .update(input)
      .digest("base64url");
    expect(await codeOfLogin(`${input}.${mac}`)).toBe("JWT_ALGORITHM_NOT_ALLOWED");
  });

  test("with an algorithm that the issuer has and the app does not name", async () => {
    const strict = await createApp(simulator, client, {
      name: "strict",
      issuers: [
        {
          issuer: simulator.issuer.issuer,
          audiences: [AUDIENCE],
          jwksUri: simulator.issuer.jwksUri,
          algorithms: ["ES256"],
        },
      ],
    });
    const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce, algorithm: "RS256" });
    await expect(client.login({ appId: strict, jwt, key })).rejects.toMatchObject({
      code: "JWT_ALGORITHM_NOT_ALLOWED",
    });
  });

  test("with an authorised party that is no text", async () => {
    const claimed = { subject: "alice", audience: AUDIENCE, nonce, claims: { azp: [AUDIENCE] } };
    expect(await codeOfLogin(await simulator.issuer.mint(claimed))).toBe("JWT_AUDIENCE_MISMATCH");
  });

  test("that is no token, or lacks what a login needs", async () => {
    expect(await codeOfLogin("not.a.jwt")).toBe("JWT_MALFORMED");
    const noSubject = await simulator.issuer.mint({ subject: "x", audience: AUDIENCE, nonce, claims: { sub: "" } });
    expect(await codeOfLogin(noSubject)).toBe("JWT_CLAIM_INVALID");
  });

  test("for an app that is not there", async () => {
    const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce });
    const body = requestBody(simulator, {
      operation: "register_session",
      appId: `app_${"0".repeat(32)}`,
      params: { jwt },
    });
    expect(await send(simulator, body, key)).toMatchObject({ status: 404, code: "APP_NOT_FOUND" });
  });
});

describe("sessions", () => {
  test("end when the app says so, by the enclave's own clock", async () => {
    const short = await createApp(simulator, client, { name: "short", sessionLifetimeS: 30 });
    const { session } = await logIn(simulator, client, short, "alice");
    await session.listWallets();
    await simulator.advanceClock(31_000);
    client = await simulator.connect();
    const later = await logIn(simulator, client, short, "bob");
    await later.session.listWallets();
    await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_EXPIRED" });
  });

  test("survive a token whose times have fractions, and the user can log in again", async () => {
    const own = await generateStampKey();
    const exp = Math.floor(simulator.nowMs() / 1000) + 60.123456;
    const jwt = await simulator.issuer.mint({
      subject: "fraction",
      audience: AUDIENCE,
      nonce: await loginNonce(own),
      claims: { exp },
    });
    const session = await client.login({ appId, jwt, key: own });
    expect(session.expiresAtMs).toBe(Math.floor(exp * 1000));
    const again = await logIn(simulator, client, appId, "fraction");
    expect(again.session.userId).toBe(session.userId);
  });

  test("of a key that has since logged in as somebody else are not put out by the first user's", async () => {
    const { session, key: shared } = await logIn(simulator, client, appId, "first");
    const jwt = await simulator.issuer.mint({ subject: "second", audience: AUDIENCE, nonce: await loginNonce(shared) });
    // Not while the first user's session lives: its holder would act in another's account.
    await expect(client.login({ appId, jwt, key: shared })).rejects.toMatchObject({ code: "SESSION_KEY_TAKEN" });
    await session.logOut();
    const second = await client.login({ appId, jwt, key: shared });
    for (let device = 0; device < 10; device += 1) await logIn(simulator, client, appId, "first");
    await second.listWallets();
  });

  test("never outlive the token that they came from", async () => {
    const own = await generateStampKey();
    const jwt = await simulator.issuer.mint({
      subject: "alice",
      audience: AUDIENCE,
      nonce: await loginNonce(own),
      lifetimeS: 60,
    });
    const session = await client.login({ appId, jwt, key: own });
    expect(session.expiresAtMs).toBeLessThanOrEqual(simulator.nowMs() + 60_000);
  });
});

describe("administrators", () => {
  test("are those of the manifest, and the parent is none", async () => {
    const nobody = await generateStampKey();
    await expect(client.createApp([nobody], appParams(simulator))).rejects.toMatchObject({
      code: "NOT_ENOUGH_ADMINISTRATORS",
    });
    await expect(client.createApp([], appParams(simulator))).rejects.toMatchObject({ code: "STAMP_MISSING" });
  });

  test("cannot send the enclave for keys to a host that the manifest does not name", async () => {
    const issuers = [
      {
        issuer: "https://other.example",
        audiences: [AUDIENCE],
        jwksUri: "https://other.example/jwks.json",
        algorithms: ["RS256" as const],
      },
    ];
    await expect(createApp(simulator, client, { issuers })).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });

  test("make one app with one request id", async () => {
    const requestId = "0b6b2c3a-6a3e-4d0b-8f6e-3a1f6f1b2c3d";
    const make = (name: string) =>
      client.createApp([simulator.administratorKey], appParams(simulator, { name }), { requestId });
    const first = await make("one");
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await make("one")).toEqual(first);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await expect(make("two")).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
  });
});

test("keys that the parent serves in the issuer's place are not taken: TLS to it ends in the enclave", async () => {
  // A fresh enclave has fetched no keys yet.
  await simulator.killEnclave();
  await simulator.startEnclave();
  client = await simulator.connect();
  hostile.hooks.message = (port, direction, message) =>
    // The KMS has a certificate under the same root, for another name.
    port === EGRESS_PORT && direction === "to-parent" && "host" in message
      ? { ...message, host: "kms.us-east-1.amazonaws.com" }
      : message;
  const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce });
  expect(await codeOfLogin(jwt)).toBe("JWKS_UNAVAILABLE");
  delete hostile.hooks.message;
  await expect.poll(() => codeOfLogin(jwt), { timeout: 5_000, interval: 300 }).toBe("accepted");
});
