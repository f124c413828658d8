/** Tokens under the issuer's own key that are no logins all the same. */
import { exportJWK, generateKeyPair, type JWTHeaderParameters, SignJWT } from "jose";
import { beforeAll, expect, test } from "vitest";
import { JwksCache } from "../../../enclave/auth/jwks-cache.ts";
import { verifyJwt } from "../../../enclave/auth/verify-jwt.ts";
import type { IssuerConfig } from "../../../protocol/index.ts";

const NOW = 1_790_000_000_000;
const ISSUER: IssuerConfig = {
  ...{ issuer: "https://login.example", audiences: ["test"], jwksUri: "https://login.example/jwks.json" },
  algorithms: ["ES256"],
};

let codeOf: (changes?: object, header?: Partial<JWTHeaderParameters>) => Promise<string>;
beforeAll(async () => {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const nowMs = () => NOW;
  const jwk = { ...(await exportJWK(publicKey)), kid: "1" };
  const jwks = new JwksCache({ fetchJson: async () => ({ keys: [jwk] }), nowMs });
  const iat = NOW / 1000;
  codeOf = async (changes = {}, header = {}) => {
    const claims = { iss: ISSUER.issuer, sub: "alice", aud: "test", iat, exp: iat + 300, ...changes };
    const jwt = await new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: "1", ...header }).sign(privateKey);
    const sessionKey = { hex: "00", isSealed: true };
    return verifyJwt(jwt, sessionKey, [ISSUER], { jwks, nowMs }).then(
      () => "accepted",
      (error: { code: string }) => error.code,
    );
  };
});

test("a login token is accepted, with no type or a general one", async () => {
  for (const header of [{}, { typ: "JWT" }, { typ: "jwt" }, { typ: "application/jwt" }]) {
    expect(await codeOf({}, header)).toBe("accepted");
  }
});

test("a token that its issuer made for something else than a login is refused", async () => {
  for (const typ of ["at+jwt", "AT+JWT", "application/at+jwt", "logout+jwt", "secevent+jwt"]) {
    expect([typ, await codeOf({}, { typ })]).toEqual([typ, "JWT_CLAIM_INVALID"]);
  }
  const logout = { "http://schemas.openid.net/event/backchannel-logout": {} };
  for (const events of [logout, {}, null, "x"]) expect(await codeOf({ events })).toBe("JWT_CLAIM_INVALID");
});

test("subjects that are no text, and would be written alike, are refused", async () => {
  for (const sub of ["\ud800", "alice\udfff", "\udc00\ud800"]) expect(await codeOf({ sub })).toBe("JWT_CLAIM_INVALID");
  expect(await codeOf({ sub: "\u{1f600}" })).toBe("accepted");
  expect(await codeOf({ iss: "https://login.example\ud800" })).toBe("JWT_ISSUER_UNKNOWN");
});
