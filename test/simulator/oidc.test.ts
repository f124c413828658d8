import { createPublicKey } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { Agent, get } from "node:https";
import { connect } from "node:tls";
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, importSPKI, type JSONWebKeySet, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ISSUER_ALGORITHMS, type SimulatedIssuer, startSimulatedIssuer } from "../../simulator/oidc/index.ts";
import { createTlsAuthority } from "../../simulator/pki/index.ts";

const ISSUER = "https://issuer.simulator.invalid/tenant";
const HOST = "issuer.simulator.invalid";
const NOW_MS = 1_790_000_000_000;
const AUDIENCE = "test/app";
const NOTE = expect.stringMatching(/^SIMULATOR ISSUER/);

const authority = createTlsAuthority({ nowMs: Date.now, name: "test TLS root" });
const tls = authority.issueServer({ hosts: [HOST] });
const paths: string[] = [];
let issuer: SimulatedIssuer;
beforeAll(async () => {
  issuer = await start();
});
afterAll(() => issuer.close());

function start(changes: object = {}): Promise<SimulatedIssuer> {
  const log = ({ path }: { readonly path: string }) => paths.push(path);
  return startSimulatedIssuer({ tls, issuer: ISSUER, nowMs: () => NOW_MS, log, ...changes });
}

interface Answer {
  readonly status: number | undefined;
  readonly server: string | undefined;
  readonly json: unknown;
}

/** Over TLS that is verified, under the issuer's name, as the enclave does through the relay. */
function fetchJson(url: string, method = "GET", port = issuer.port): Promise<Answer> {
  const agent = new Agent();
  agent.createConnection = () => connect({ host: "127.0.0.1", port, servername: HOST, ca: authority.rootPem });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  get(url, { agent, method }, (response) => collect(response, resolve)).on("error", reject);
  return promise;
}

function collect(response: IncomingMessage, resolve: (answer: Answer) => void): void {
  let body = "";
  response.on("data", (chunk: Buffer) => {
    body += chunk.toString();
  });
  response.on("end", () => {
    resolve({ status: response.statusCode, server: response.headers["server"]?.toString(), json: JSON.parse(body) });
  });
}

async function jwks(): Promise<JSONWebKeySet> {
  return (await fetchJson(issuer.jwksUri)).json as JSONWebKeySet;
}

async function verify(token: string, keys?: JSONWebKeySet) {
  return jwtVerify(token, createLocalJWKSet(keys ?? (await jwks())), {
    issuer: ISSUER,
    audience: AUDIENCE,
    currentDate: new Date(NOW_MS),
    algorithms: [...ISSUER_ALGORITHMS],
  });
}

describe("discovery", () => {
  test("names the issuer and where its keys are", async () => {
    const { status, server, json } = await fetchJson(`${ISSUER}/.well-known/openid-configuration`);
    expect({ status, server }).toEqual({ status: 200, server: "SIMULATOR ISSUER" });
    expect(json).toEqual({
      issuer: ISSUER,
      jwks_uri: issuer.jwksUri,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["RS256", "PS256", "ES256", "EdDSA"],
    });
    expect(issuer.jwksUri).toBe(`${ISSUER}/.well-known/jwks.json`);
  });

  test("publishes one public key for each algorithm", async () => {
    const { keys } = await jwks();
    expect(keys.map(({ alg, kty }) => [alg, kty])).toEqual([
      ["RS256", "RSA"],
      ["PS256", "RSA"],
      ["ES256", "EC"],
      ["EdDSA", "OKP"],
    ]);
    for (const key of keys) {
      expect(key.use).toBe("sig");
      expect(key.kid).toMatch(/^[A-Za-z0-9_-]{43}$/);
      for (const secret of ["d", "p", "q", "dp", "dq", "qi", "k"]) expect(key).not.toHaveProperty(secret);
      if (key.kty === "RSA") {
        expect(createPublicKey({ key, format: "jwk" }).asymmetricKeyDetails?.modulusLength).toBe(2048);
      }
    }
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(4);
  });

  test.each([
    ["/.well-known/jwks.json", "GET", 404, "NOT_FOUND"],
    ["/tenant/authorize", "GET", 404, "NOT_FOUND"],
    ["/tenant/.well-known/jwks.json?x", "GET", 404, "NOT_FOUND"],
    ["/token", "POST", 404, "NOT_FOUND"],
    ["/tenant/.well-known/jwks.json", "POST", 405, "METHOD_NOT_ALLOWED"],
  ])("refuses %s by %s", async (path, method, status, code) => {
    const answer = await fetchJson(`https://${HOST}${path}`, method);
    expect(answer).toMatchObject({ status, json: { error: { code }, note: NOTE } });
  });

  test("an error inside says nothing but that", async () => {
    const broken = await start({
      log: () => {
        throw new Error("secret of the inside");
      },
    });
    try {
      const { status, json } = await fetchJson(broken.jwksUri, "GET", broken.port);
      expect({ status, json }).toMatchObject({ status: 500, json: { error: { code: "INTERNAL" } } });
      expect(JSON.stringify(json)).not.toContain("secret");
    } finally {
      await broken.close();
    }
  });

  test("the log hears what is fetched", async () => {
    paths.length = 0;
    await jwks();
    expect(paths).toEqual(["/tenant/.well-known/jwks.json"]);
  });
});

describe("mint", () => {
  test.each(ISSUER_ALGORITHMS)("%s verifies under the published key, and not after a change", async (algorithm) => {
    const token = await issuer.mint({ subject: "alice", audience: AUDIENCE, nonce: "n", algorithm });
    const { payload, protectedHeader } = await verify(token);
    const iat = NOW_MS / 1000;
    expect(payload).toEqual({ iss: ISSUER, sub: "alice", aud: AUDIENCE, iat, exp: iat + 3600, nonce: "n" });
    expect(protectedHeader).toMatchObject({ alg: algorithm, typ: "JWT" });
    const pem = await issuer.signingKeyPublicPem(algorithm);
    await expect(
      jwtVerify(token, await importSPKI(pem, algorithm), { currentDate: new Date(NOW_MS) }),
    ).resolves.toBeDefined();

    const [header, body = "", signature] = token.split(".");
    const changed = Buffer.from(Buffer.from(body, "base64url").toString().replace("alice", "mallo")).toString(
      "base64url",
    );
    await expect(verify([header, changed, signature].join("."))).rejects.toMatchObject({
      code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
    });
  });

  test("RS256 unless told otherwise, and no nonce unless given", async () => {
    const token = await issuer.mint({ subject: "alice", audience: [AUDIENCE, "other"] });
    expect(decodeProtectedHeader(token).alg).toBe("RS256");
    expect(decodeJwt(token)).not.toHaveProperty("nonce");
    expect(decodeJwt(token).aud).toEqual([AUDIENCE, "other"]);
  });

  test("claims are added, replaced and left out, for wrong tokens too", async () => {
    const asked = { subject: "alice", audience: AUDIENCE, algorithm: "ES256" } as const;
    const richer = await issuer.mint({ ...asked, claims: { email: "a@example.com" } });
    expect((await verify(richer)).payload["email"]).toBe("a@example.com");
    const wrong = await issuer.mint({ ...asked, claims: { iss: "https://other.invalid", exp: undefined } });
    expect(decodeJwt(wrong)).toMatchObject({ iss: "https://other.invalid" });
    expect(decodeJwt(wrong)).not.toHaveProperty("exp");
    await expect(verify(wrong)).rejects.toMatchObject({ code: "ERR_JWT_CLAIM_VALIDATION_FAILED" });
    await expect(verify(await issuer.mint({ ...asked, lifetimeS: -1 }))).rejects.toMatchObject({
      code: "ERR_JWT_EXPIRED",
    });
  });
});

test("rotateKey: new keys sign, the ones before stay published for one rotation", async () => {
  const first = await issuer.mint({ subject: "alice", audience: AUDIENCE });
  const before = await jwks();
  const pem = await issuer.signingKeyPublicPem();
  issuer.rotateKey();
  const second = await issuer.mint({ subject: "alice", audience: AUDIENCE });
  expect(decodeProtectedHeader(second).kid).not.toBe(decodeProtectedHeader(first).kid);
  expect(await issuer.signingKeyPublicPem()).not.toBe(pem);
  expect((await jwks()).keys).toHaveLength(8);
  await expect(verify(first)).resolves.toBeDefined();
  await expect(verify(second)).resolves.toBeDefined();
  // Who keeps the old set must fetch anew.
  await expect(verify(second, before)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
  issuer.rotateKey();
  await expect(verify(second)).resolves.toBeDefined();
  await expect(verify(first)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
});

describe("token endpoint", () => {
  interface Sent {
    readonly body: string | Buffer;
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Readonly<Record<string, string>>;
  }

  function send({ body, method = "POST", path = "/token", headers = {} }: Sent): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const request = httpRequest(
      {
        host: "127.0.0.1",
        port: issuer.tokenPort,
        method,
        path,
        headers: { "content-type": "application/json", ...headers },
      },
      (response) => collect(response, resolve),
    );
    request.on("error", reject);
    request.end(body);
    return promise;
  }

  const good = { subject: "alice", audience: AUDIENCE, nonce: "ab".repeat(32) };

  test("gives a token that verifies, and says what it is", async () => {
    const { status, server, json } = await send({ body: JSON.stringify(good) });
    expect({ status, server }).toEqual({ status: 200, server: "SIMULATOR ISSUER" });
    expect(json).toEqual({ token: expect.any(String), note: NOTE });
    const { payload } = await verify((json as { readonly token: string }).token);
    expect(payload).toMatchObject({ sub: "alice", aud: AUDIENCE, nonce: good.nonce });
  });

  test("needs no nonce, and takes localhost and a charset", async () => {
    const headers = { host: `localhost:${issuer.tokenPort}`, "content-type": "application/json; charset=utf-8" };
    const { status } = await send({ body: '{"subject":"a","audience":"b"}', headers });
    expect(status).toBe(200);
  });

  const refusals: [code: string, status: number, what: string, sent: Sent][] = [
    ["MALFORMED_JSON", 400, "nothing", { body: "" }],
    ["MALFORMED_JSON", 400, "half of it", { body: '{"subject":' }],
    ["MALFORMED_JSON", 400, "a list", { body: "[]" }],
    ["MALFORMED_JSON", 400, "a key twice", { body: '{"subject":"a","subject":"b","audience":"c"}' }],
    ["MALFORMED_JSON", 400, "not UTF-8", { body: Buffer.of(0x22, 0xff, 0x22) }],
    ["UNKNOWN_FIELD", 400, "another field", { body: JSON.stringify({ ...good, admin: true }) }],
    ["INVALID_SUBJECT", 400, "no subject", { body: JSON.stringify({ audience: AUDIENCE }) }],
    ["INVALID_SUBJECT", 400, "an empty subject", { body: JSON.stringify({ ...good, subject: "" }) }],
    ["INVALID_SUBJECT", 400, "a subject of 256", { body: JSON.stringify({ ...good, subject: "x".repeat(256) }) }],
    ["INVALID_SUBJECT", 400, "a line break", { body: JSON.stringify({ ...good, subject: "a\nb" }) }],
    ["INVALID_SUBJECT", 400, "a number", { body: JSON.stringify({ ...good, subject: 1 }) }],
    ["INVALID_AUDIENCE", 400, "no audience", { body: JSON.stringify({ subject: "a" }) }],
    ["INVALID_AUDIENCE", 400, "a list of audiences", { body: JSON.stringify({ ...good, audience: ["a"] }) }],
    ["INVALID_NONCE", 400, "a null nonce", { body: JSON.stringify({ ...good, nonce: null }) }],
    ["INVALID_NONCE", 400, "an empty nonce", { body: JSON.stringify({ ...good, nonce: "" }) }],
    ["BODY_TOO_LARGE", 413, "16 KiB and a byte", { body: " ".repeat(16 * 1024 + 1) }],
    [
      "NOT_JSON",
      415,
      "a form",
      { body: "subject=a", headers: { "content-type": "application/x-www-form-urlencoded" } },
    ],
    ["NOT_JSON", 415, "plain text", { body: JSON.stringify(good), headers: { "content-type": "text/plain" } }],
    ["METHOD_NOT_ALLOWED", 405, "PUT", { body: JSON.stringify(good), method: "PUT" }],
    ["NOT_FOUND", 404, "another path", { body: JSON.stringify(good), path: "/" }],
    ["NOT_LOCAL", 403, "another name", { body: JSON.stringify(good), headers: { host: "evil.example" } }],
    [
      "NOT_LOCAL",
      403,
      "a name that starts alike",
      { body: JSON.stringify(good), headers: { host: "localhost.evil.example" } },
    ],
  ];
  test.each(refusals)("%s (%d): %s", async (code, status, _what, sent) => {
    expect(await send(sent)).toMatchObject({ status, json: { error: { code }, note: NOTE } });
  });
});

describe("start and end", () => {
  test.each([
    "http://issuer.simulator.invalid",
    "https://issuer.simulator.invalid/",
    "https://issuer.simulator.invalid?x",
    "https://issuer.simulator.invalid#x",
    "https://user@issuer.simulator.invalid",
    "issuer.simulator.invalid",
    "",
  ])("refuses %j as an issuer", async (wrong) => {
    await expect(start({ issuer: wrong })).rejects.toMatchObject({ name: "IssuerError", code: "INVALID_ISSUER" });
  });

  test("an issuer without a path", async () => {
    const rooted = await start({ issuer: "https://issuer.simulator.invalid" });
    expect(rooted.jwksUri).toBe("https://issuer.simulator.invalid/.well-known/jwks.json");
    await rooted.close();
  });

  test("a port that is taken, of either kind, leaves nothing open", async () => {
    await expect(start({ port: issuer.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
    const other = await start();
    const { port } = other;
    await other.close();
    await expect(start({ port, tokenPort: issuer.tokenPort })).rejects.toMatchObject({ code: "EADDRINUSE" });
    // Its HTTPS port is free again.
    const third = await start({ port });
    expect(third.port).toBe(port);
    await third.close();
  });
});
