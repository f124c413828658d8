/** Issuers' keys by an injected clock and fetch: how often, how long, how many wait. */
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { beforeAll, expect, test } from "vitest";
import { JwksCache } from "../../../enclave/auth/jwks-cache.ts";

const URI = "https://login.example/jwks.json";
const MINUTE_MS = 60_000;

let keys: { readonly first: JWK; readonly second: JWK };
beforeAll(async () => {
  const jwk = async (kid: string) => ({ ...(await exportJWK((await generateKeyPair("ES256")).publicKey)), kid });
  keys = { first: await jwk("first"), second: await jwk("second") };
});

/** An issuer that publishes what a test says, and counts who asks. */
class Issuer {
  nowMs = 1_000_000;
  published: unknown = { keys: [] };
  fetches = 0;
  /** Instead of what is published. */
  failure: Error | undefined;
  wait: Promise<void> = Promise.resolve();
  readonly cache = new JwksCache({
    fetchJson: async (url) => {
      expect(url.href).toBe(URI);
      this.fetches += 1;
      await this.wait;
      if (this.failure !== undefined) throw this.failure;
      return this.published;
    },
    nowMs: () => this.nowMs,
  });

  async codeOf(kid: string): Promise<string> {
    return this.cache.find({ kind: "jwks", uri: URI }, { alg: "ES256", kid }).then(
      () => "found",
      (error: { code: string }) => error.code,
    );
  }
}

test("a set is fetched once, and again when it is ten minutes old", async () => {
  const issuer = new Issuer();
  issuer.published = { keys: [keys.first] };
  expect(await issuer.codeOf("first")).toBe("found");
  issuer.nowMs += 10 * MINUTE_MS;
  expect(await issuer.codeOf("first")).toBe("found");
  expect(issuer.fetches).toBe(1);
  issuer.nowMs += 1;
  expect(await issuer.codeOf("first")).toBe("found");
  expect(issuer.fetches).toBe(2);
});

test("an unknown kid has the set fetched again, at most every half minute, whoever sends such tokens", async () => {
  const issuer = new Issuer();
  issuer.published = { keys: [keys.first] };
  await issuer.codeOf("first");
  for (let token = 0; token < 100; token += 1) expect(await issuer.codeOf(`made up ${token}`)).toBe("JWT_KEY_UNKNOWN");
  expect(issuer.fetches).toBe(1);

  issuer.published = { keys: [keys.first, keys.second] };
  issuer.nowMs += 30_000;
  expect(await issuer.codeOf("second")).toBe("found");
  for (let token = 0; token < 100; token += 1) expect(await issuer.codeOf(`made up ${token}`)).toBe("JWT_KEY_UNKNOWN");
  expect(issuer.fetches).toBe(2);
});

test("while the issuer is away an older set serves, for an hour and no longer", async () => {
  const issuer = new Issuer();
  issuer.published = { keys: [keys.first] };
  await issuer.codeOf("first");
  issuer.failure = new Error("away");
  issuer.nowMs += 60 * MINUTE_MS;
  expect(await issuer.codeOf("first")).toBe("found");
  issuer.nowMs += 1;
  expect(await issuer.codeOf("first")).toBe("JWKS_UNAVAILABLE");
  issuer.failure = undefined;
  issuer.nowMs += 30_000;
  expect(await issuer.codeOf("first")).toBe("found");
});

test("an issuer that was never reached is asked again after a second, and not before", async () => {
  const issuer = new Issuer();
  issuer.failure = new Error("away");
  for (let login = 0; login < 10; login += 1) expect(await issuer.codeOf("first")).toBe("JWKS_UNAVAILABLE");
  expect(issuer.fetches).toBe(1);
  issuer.failure = undefined;
  issuer.published = { keys: [keys.first] };
  issuer.nowMs += 1_000;
  expect(await issuer.codeOf("first")).toBe("found");
});

test.each([[null], [[]], [{ keys: "x" }], [{ keys: [{ kty: "none" }] }], ["keys"]])(
  "what is no key set gives no key: %j",
  async (published) => {
    const issuer = new Issuer();
    issuer.published = published;
    expect(await issuer.codeOf("first")).toMatch(/^(JWKS_UNAVAILABLE|JWT_KEY_UNKNOWN)$/);
  },
);

test("however many log in at once, one fetch runs, and no more than 128 wait for it", async () => {
  const issuer = new Issuer();
  issuer.published = { keys: [keys.first] };
  const { promise, resolve } = Promise.withResolvers<void>();
  issuer.wait = promise;
  const logins = Array.from({ length: 200 }, () => issuer.codeOf("first"));
  await new Promise(setImmediate);
  resolve();
  const codes = await Promise.all(logins);
  expect(issuer.fetches).toBe(1);
  expect(codes.filter((code) => code === "found")).toHaveLength(128);
  expect(codes.filter((code) => code === "BUSY")).toHaveLength(72);
  expect(await issuer.codeOf("first")).toBe("found");
});
