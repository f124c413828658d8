/** Which of an issuer's published keys may verify a login: signature keys of the allowed kinds and sizes, nothing else. */
import type { JSONWebKeySet, JWK } from "jose";
import { decodeBase64url } from "../../protocol/index.ts";

/** Issuers publish a few; each costs something to look at. */
const MAX_KEYS = 64;
/** RFC 8725, 3.5, and NIST SP 800-131A. */
const MIN_RSA_BITS = 2048;
/** A larger modulus makes each verification slow for everybody. */
const MAX_RSA_BITS = 8192;

/** @throws Error for what is no key set, or too large a one. */
export function usableKeys(json: unknown): JSONWebKeySet {
  const keys = typeof json === "object" && json !== null && "keys" in json ? json.keys : undefined;
  if (!Array.isArray(keys)) throw new Error("no key set");
  if (keys.length > MAX_KEYS) throw new Error(`${keys.length} keys, limit ${MAX_KEYS}`);
  return { keys: keys.filter(isUsable) };
}

function isUsable(key: unknown): key is JWK {
  if (typeof key !== "object" || key === null) return false;
  const { use, key_ops: operations, alg, d } = key as JWK;
  // One that is published with its private half is anybody's.
  if (d !== undefined) return false;
  if (use !== undefined && use !== "sig") return false;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return false;
  const algorithms = algorithmsOf(key as JWK);
  return alg === undefined ? algorithms.length > 0 : algorithms.includes(alg);
}

/** What a key can verify, by its kind and size. */
function algorithmsOf({ kty, crv, n, e }: JWK): readonly string[] {
  if (kty === "RSA") return isGoodModulus(n) && isGoodExponent(e) ? ["RS256", "PS256"] : [];
  if (kty === "EC") return crv === "P-256" ? ["ES256"] : [];
  if (kty === "OKP") return crv === "Ed25519" ? ["EdDSA", "Ed25519"] : [];
  return [];
}

function isGoodModulus(n: unknown): boolean {
  const bytes = bytesOf(n);
  const first = bytes.findIndex((byte) => byte !== 0);
  if (first < 0) return false;
  const bits = (bytes.length - first) * 8 - Math.clz32(bytes[first] ?? 0) + 24;
  return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS;
}

/** Odd and over 1: with 1 every message is its own signature. */
function isGoodExponent(e: unknown): boolean {
  const bytes = bytesOf(e);
  const value = bytes.length > 4 ? Number.NaN : bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return value >= 3 && value % 2 === 1;
}

function bytesOf(text: unknown): Uint8Array {
  try {
    return typeof text === "string" ? decodeBase64url(text) : new Uint8Array(0);
  } catch {
    return new Uint8Array(0);
  }
}
