/** A login token, checked in the enclave from its bytes to the issuer's keys (RFC 7519, RFC 8725). */
import { createHash } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import { type ErrorCode, type IssuerConfig, RequestError } from "../../protocol/index.ts";
import type { JwksCache } from "./jwks-cache.ts";
import { keySourceOf } from "./key-source.ts";

/** Issuers' clocks and the NSM's differ a little: a token may be dated so far ahead. */
export const CLOCK_TOLERANCE_S = 5;

/** OpenID Connect Core 1.0, 2. A user's record holds several. */
const MAX_SUBJECT_LENGTH = 255;

/** Access tokens (RFC 9068), logout tokens (OpenID Connect Back-Channel Logout 1.0), security events (RFC 8417). */
const OTHER_TYPES: ReadonlySet<string> = new Set(["at+jwt", "logout+jwt", "secevent+jwt"]);

export interface VerifiedLogin {
  readonly issuer: string;
  readonly subject: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** A nonce that has this form binds its token to a key, whatever else it may have been meant for. */
const BINDING_NONCE = /^[0-9a-fA-F]{64}$/;

/**
 * Verifies a token, and that whoever relayed it can do nothing with it: either it is bound to the session key (its
 * `nonce` is the hex SHA-256 of the key's hex), or nobody could read it on its way. A token that is bound to one key is
 * refused for another however it comes: it may have travelled in the open before.
 *
 * @param sessionKey.hex - Lower case, as the stamp spells it.
 * @throws {@link RequestError} `JWT_…`, `JWKS_UNAVAILABLE`
 */
export async function verifyJwt(
  jwt: string,
  sessionKey: { readonly hex: string; readonly isSealed: boolean },
  issuers: readonly IssuerConfig[],
  { jwks, nowMs }: { readonly jwks: JwksCache; readonly nowMs: () => number },
): Promise<VerifiedLogin> {
  const issuer = issuerOf(jwt, issuers);
  const { alg, typ } = headerOf(jwt);
  if (alg === undefined || !(issuer.algorithms as readonly string[]).includes(alg)) {
    // Said before any key is looked for: `none` and HMAC under a public key end here.
    throw new RequestError("JWT_ALGORITHM_NOT_ALLOWED", `expected one of ${issuer.algorithms.join(", ")}`);
  }
  // RFC 8725, 3.11: made by the same issuer, under the same keys, for something else than a login.
  if (typ !== undefined && (typeof typ !== "string" || OTHER_TYPES.has(mediaTypeOf(typ)))) {
    throw new RequestError("JWT_CLAIM_INVALID", "typ: not a login token's");
  }
  const payload = await verifyClaims(jwt, issuer, jwks, nowMs());
  checkBinding(payload["nonce"], sessionKey);
  const { sub, exp, iat, azp } = payload;
  // RFC 8417: a security event, such as a logout token, which may name the same subject and audience.
  if (payload["events"] !== undefined) throw new RequestError("JWT_CLAIM_INVALID", "events: not in a login token");
  // Two that are not well-formed may be one once they are written as UTF-8, and so lead to one user.
  if (typeof sub !== "string" || sub === "" || sub.length > MAX_SUBJECT_LENGTH || !sub.isWellFormed()) {
    throw new RequestError("JWT_CLAIM_INVALID", `sub: expected text of at most ${MAX_SUBJECT_LENGTH} characters`);
  }
  // RFC 7519, NumericDate: it may have a fraction.
  if (typeof exp !== "number" || !Number.isSafeInteger(Math.floor(exp * 1000)))
    throw new RequestError("JWT_CLAIM_INVALID", "exp: expected a number");
  if (typeof iat !== "number" || !Number.isSafeInteger(Math.floor(iat * 1000)))
    throw new RequestError("JWT_CLAIM_INVALID", "iat: expected a number");
  if (iat > nowMs() / 1000 + CLOCK_TOLERANCE_S) throw new RequestError("JWT_NOT_YET_VALID", "iat is yet to come");
  // OpenID Connect Core 3.1.3.7, steps 4 and 5: a token made for another client of the same issuer.
  if (azp !== undefined && !(typeof azp === "string" && issuer.audiences.includes(azp))) {
    throw new RequestError("JWT_AUDIENCE_MISMATCH", "azp is not one of the app's audiences");
  }
  return {
    issuer: issuer.issuer,
    subject: sub,
    issuedAtMs: Math.floor(iat * 1000),
    expiresAtMs: Math.floor(exp * 1000),
  };
}

function checkBinding(nonce: unknown, { hex, isSealed }: { readonly hex: string; readonly isSealed: boolean }): void {
  if (nonce === createHash("sha256").update(hex).digest("hex")) return;
  if (isSealed && !(typeof nonce === "string" && BINDING_NONCE.test(nonce))) return;
  throw new RequestError("JWT_NONCE_MISMATCH", "nonce is not the hex SHA-256 of the session key's hex");
}

async function verifyClaims(jwt: string, issuer: IssuerConfig, jwks: JwksCache, nowMs: number): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(jwt, (header) => jwks.find(keySourceOf(issuer), header), {
      issuer: issuer.issuer,
      audience: [...issuer.audiences],
      algorithms: [...issuer.algorithms],
      requiredClaims: ["iss", "sub", "aud", "exp", "iat"],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    });
    return payload;
  } catch (error) {
    throw asRequestError(error);
  }
}

/** The issuer is read before anything is verified: it only chooses which app's configuration then judges the token. */
function issuerOf(jwt: string, issuers: readonly IssuerConfig[]): IssuerConfig {
  let iss: unknown;
  try {
    iss = decodeJwt(jwt).iss;
  } catch (cause) {
    throw new RequestError("JWT_MALFORMED", "not a signed JWT in compact form", { cause });
  }
  const issuer = issuers.find((candidate) => candidate.issuer === iss);
  if (issuer === undefined) throw new RequestError("JWT_ISSUER_UNKNOWN", "iss is not one of the app's issuers");
  return issuer;
}

function headerOf(jwt: string): { alg?: string; typ?: unknown } {
  try {
    return decodeProtectedHeader(jwt);
  } catch (cause) {
    throw new RequestError("JWT_MALFORMED", "no JWS header", { cause });
  }
}

/** RFC 7515, 4.1.9: the prefix may be left out, and case says nothing. */
function mediaTypeOf(typ: string): string {
  return typ.toLowerCase().replace(/^application\//, "");
}

function asRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const refuse = (code: ErrorCode & `JWT_${string}`, message: string) =>
    new RequestError(code, message, { cause: error });
  if (error instanceof errors.JWTExpired) return refuse("JWT_EXPIRED", "exp has passed");
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return refuse("JWT_SIGNATURE_INVALID", "not signed by the issuer's key");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud") return refuse("JWT_AUDIENCE_MISMATCH", "aud is not one of the app's audiences");
    if (error.claim === "nbf" && error.reason === "check_failed")
      return refuse("JWT_NOT_YET_VALID", "nbf is yet to come");
    return refuse("JWT_CLAIM_INVALID", `${error.claim}: ${error.reason}`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return refuse("JWT_ALGORITHM_NOT_ALLOWED", "algorithm not allowed");
  return refuse("JWT_MALFORMED", "not a JWT that can be verified");
}
