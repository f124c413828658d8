/** What an issuer may publish, and what of it verifies nothing here. */
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { usableKeys } from "../../../enclave/auth/usable-keys.ts";

let rsa: JWK;
let ec: JWK;
let okp: JWK;
beforeAll(async () => {
  const publicKey = async (algorithm: string, options = {}) =>
    exportJWK((await generateKeyPair(algorithm, { extractable: true, ...options })).publicKey);
  rsa = await publicKey("RS256");
  ec = await publicKey("ES256");
  okp = await publicKey("EdDSA");
});

const isKept = (key: unknown) => usableKeys({ keys: [key] }).keys.length === 1;
const modulus = (bits: number) => {
  const bytes = Buffer.alloc(Math.ceil(bits / 8), 0xff);
  bytes[0] = 0xff >> (bytes.length * 8 - bits);
  return bytes.toString("base64url");
};

test("keys of the three kinds are kept, with and without their uses named", () => {
  for (const key of [rsa, ec, okp]) {
    expect(isKept(key)).toBe(true);
    expect(isKept({ ...key, use: "sig", key_ops: ["verify"], kid: "x", x5c: ["unread"] })).toBe(true);
  }
  for (const alg of ["RS256", "PS256"]) expect(isKept({ ...rsa, alg })).toBe(true);
  expect(isKept({ ...ec, alg: "ES256" })).toBe(true);
  expect(isKept({ ...okp, alg: "EdDSA" })).toBe(true);
});

describe("a key is left out", () => {
  test("for another use", () => {
    for (const key of [rsa, ec, okp]) {
      for (const change of [
        { use: "enc" },
        { use: "" },
        { key_ops: ["sign"] },
        { key_ops: [] },
        { key_ops: "verify" },
      ]) {
        expect(isKept({ ...key, ...change })).toBe(false);
      }
    }
  });

  test("for an algorithm that is not its own", () => {
    expect(isKept({ ...rsa, alg: "ES256" })).toBe(false);
    expect(isKept({ ...rsa, alg: "RS1" })).toBe(false);
    expect(isKept({ ...rsa, alg: "HS256" })).toBe(false);
    expect(isKept({ ...ec, alg: "RS256" })).toBe(false);
    expect(isKept({ ...okp, alg: "ES256" })).toBe(false);
  });

  test.each([
    [2047, false],
    [2048, true],
    [4096, true],
    [8192, true],
    [8193, false],
    [512, false],
  ])("for an RSA modulus of %d bits: kept %s", (bits, kept) => {
    expect(isKept({ ...rsa, n: modulus(bits) })).toBe(kept);
    // Zeros before it do not make it longer.
    expect(
      isKept({
        ...rsa,
        n: Buffer.concat([Buffer.alloc(9), Buffer.from(modulus(bits), "base64url")]).toString("base64url"),
      }),
    ).toBe(kept);
  });

  test("for an exponent under which anything verifies, or no exponent", () => {
    for (const e of ["AQ", "Ag", "", "AAAAAAAAAAM", undefined, 65_537]) expect(isKept({ ...rsa, e })).toBe(false);
    for (const e of ["Aw", "AQAB"]) expect(isKept({ ...rsa, e })).toBe(true);
  });

  test("for another curve, another kind, or a secret in the open", () => {
    for (const crv of ["P-384", "P-521", "secp256k1"]) expect(isKept({ ...ec, crv })).toBe(false);
    for (const crv of ["Ed448", "X25519"]) expect(isKept({ ...okp, crv })).toBe(false);
    expect(isKept({ kty: "oct", k: "AAAA" })).toBe(false);
    expect(isKept({ ...ec, d: "AAAA" })).toBe(false);
    for (const key of [null, 1, "key", [], {}]) expect(isKept(key)).toBe(false);
  });
});

test("what is no key set, or too large a one, is refused whole", () => {
  for (const json of [null, 1, [], {}, { keys: {} }, { keys: Array(65).fill(ec) }]) {
    expect(() => usableKeys(json)).toThrow();
  }
  expect(usableKeys({ keys: Array(64).fill(ec) }).keys).toHaveLength(64);
});
