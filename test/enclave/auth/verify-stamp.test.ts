import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { StampVerifier } from "../../../enclave/auth/verify-stamp.ts";
import type { Stamp, StampScheme } from "../../../protocol/index.ts";
import { fromHex, isAbsent, readVectors, type SignatureCase } from "../../support/wycheproof.ts";

const P256 = "SIGNATURE_SCHEME_TK_API_P256";
const SECP256K1 = "SIGNATURE_SCHEME_TK_API_SECP256K1";
const ED25519 = "SIGNATURE_SCHEME_TK_API_ED25519";
const SCHEMES: readonly StampScheme[] = [P256, SECP256K1, ED25519];

function compress(point: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(2 + ((point[64] ?? 0) & 1), ...point.subarray(1, 33));
}

interface RequestHandler {
  readonly publicKey: Uint8Array<ArrayBuffer>;
  stamp(body: Uint8Array): Stamp;
}

function signer(scheme: StampScheme): RequestHandler {
  const pair =
    scheme === ED25519
      ? generateKeyPairSync("ed25519")
      : generateKeyPairSync("ec", { namedCurve: scheme === P256 ? "P-256" : "secp256k1" });
  const publicKey = rawKey(scheme, pair.publicKey);
  const hash = scheme === ED25519 ? null : "sha256";
  return {
    publicKey,
    stamp: (body) => ({ scheme, publicKey, signature: Uint8Array.from(sign(hash, body, pair.privateKey)) }),
  };
}

function rawKey(scheme: StampScheme, key: KeyObject): Uint8Array<ArrayBuffer> {
  const spki = key.export({ type: "spki", format: "der" });
  return scheme === ED25519 ? Uint8Array.from(spki.subarray(-32)) : compress(spki.subarray(-65));
}

const BODY = Buffer.from('{"operation":"sign_message"}');

describe.each(SCHEMES)("%s", (scheme) => {
  const verifier = new StampVerifier();
  const alice = signer(scheme);

  test("a signature is its key's over these very bytes", () => {
    const stamp = alice.stamp(BODY);
    expect(verifier.verify(stamp, BODY)).toBe(true);
    expect(verifier.verify(stamp, Buffer.concat([BODY, Uint8Array.of(0x20)]))).toBe(false);
    expect(verifier.verify(stamp, BODY.subarray(1))).toBe(false);
    expect(verifier.verify(stamp, new Uint8Array(0))).toBe(false);
    expect(verifier.verify(alice.stamp(new Uint8Array(0)), new Uint8Array(0))).toBe(true);
  });

  test("another key's is refused, and so is another scheme's", () => {
    const { publicKey } = signer(scheme);
    expect(verifier.verify({ ...alice.stamp(BODY), publicKey }, BODY)).toBe(false);
    for (const other of SCHEMES.filter((each) => each !== scheme)) {
      expect(verifier.verify({ ...alice.stamp(BODY), scheme: other }, BODY)).toBe(false);
      expect(verifier.verify({ ...signer(other).stamp(BODY), scheme }, BODY)).toBe(false);
    }
  });

  test("a signature changed anywhere, cut or continued is refused and never throws", () => {
    const { signature, ...stamp } = alice.stamp(BODY);
    for (let at = 0; at < signature.length; at += 1) {
      const changed = signature.with(at, (signature[at] ?? 0) ^ 1);
      expect(verifier.verify({ ...stamp, signature: changed }, BODY), `byte ${at}`).toBe(false);
      expect(verifier.verify({ ...stamp, signature: signature.slice(0, at) }, BODY)).toBe(false);
    }
    expect(verifier.verify({ ...stamp, signature: Uint8Array.of(...signature, 0) }, BODY)).toBe(false);
    expect(verifier.verify({ ...stamp, signature: new Uint8Array(64) }, BODY)).toBe(false);
    expect(verifier.verify({ ...stamp, signature: new Uint8Array(72).fill(255) }, BODY)).toBe(false);
  });

  test.each<[string, Uint8Array<ArrayBuffer>]>([
    ["all zeros", new Uint8Array(33)],
    ["all ones", new Uint8Array(33).fill(255)],
    ["empty", new Uint8Array(0)],
    ["not on the curve", Uint8Array.of(2, ...new Uint8Array(31), scheme === P256 ? 1 : 5)],
    ["over the field", Uint8Array.of(3, ...new Uint8Array(32).fill(255))],
    ["uncompressed", Uint8Array.of(4, ...new Uint8Array(64).fill(1))],
    ["of a prefix that no form has", alice.publicKey.length === 33 ? alice.publicKey.with(0, 5) : new Uint8Array(31)],
    ["one byte short", alice.publicKey.slice(0, -1)],
    ["one byte long", Uint8Array.of(...alice.publicKey, 0)],
  ])("a key that is %s verifies nothing and never throws", (_what, publicKey) => {
    const { signature } = alice.stamp(BODY);
    expect(verifier.verify({ scheme, publicKey, signature }, BODY)).toBe(false);
    // Asked twice: what is no key must not be taken for a cached one.
    expect(verifier.verify({ scheme, publicKey, signature }, BODY)).toBe(false);
  });
});

describe("more keys than are kept", () => {
  test("are verified all the same, each against itself", () => {
    const verifier = new StampVerifier();
    const alice = signer(ED25519);
    const stamp = alice.stamp(BODY);
    expect(verifier.verify(stamp, BODY)).toBe(true);
    for (let made = 0; made < 10_001; made += 1) {
      const publicKey = Uint8Array.from(createHash("sha256").update(String(made)).digest());
      expect(verifier.verify({ ...stamp, publicKey }, BODY)).toBe(false);
    }
    expect(verifier.verify(stamp, BODY)).toBe(true);
    expect(verifier.verify(stamp, BODY.subarray(1))).toBe(false);
  });

  test("the same bytes under two schemes are two keys", () => {
    const verifier = new StampVerifier();
    const alice = signer(P256);
    const stamp = alice.stamp(BODY);
    expect(verifier.verify(stamp, BODY)).toBe(true);
    expect(verifier.verify({ ...stamp, scheme: SECP256K1 }, BODY)).toBe(false);
    expect(verifier.verify({ ...stamp, scheme: ED25519 }, BODY)).toBe(false);
    expect(verifier.verify(stamp, BODY)).toBe(true);
  });
});

const P256_VECTORS = "ecdsa_secp256r1_sha256_test";
const ED25519_VECTORS = "ed25519_test";

interface EcGroup {
  readonly publicKey: { readonly uncompressed: string };
}

interface EdGroup {
  readonly publicKey: { readonly pk: string };
}

test.skipIf(isAbsent(P256_VECTORS))("C2SP/wycheproof, ECDSA P-256 in DER, by compressed keys", () => {
  const { numberOfTests, testGroups } = readVectors<EcGroup, SignatureCase>(P256_VECTORS);
  const keyed = testGroups.map(({ publicKey, tests }) => ({ key: compress(fromHex(publicKey.uncompressed)), tests }));
  expectVerdicts(P256, keyed, numberOfTests);
});

test.skipIf(isAbsent(ED25519_VECTORS))("C2SP/wycheproof, Ed25519", () => {
  const { numberOfTests, testGroups } = readVectors<EdGroup, SignatureCase>(ED25519_VECTORS);
  const keyed = testGroups.map(({ publicKey, tests }) => ({ key: fromHex(publicKey.pk), tests }));
  expectVerdicts(ED25519, keyed, numberOfTests);
});

function expectVerdicts(
  scheme: StampScheme,
  groups: readonly { readonly key: Uint8Array<ArrayBuffer>; readonly tests: readonly SignatureCase[] }[],
  numberOfTests: number,
): void {
  const verifier = new StampVerifier();
  const counted = { valid: 0, invalid: 0 };
  for (const { key: publicKey, tests } of groups) {
    for (const { tcId, comment, msg, sig, result } of tests) {
      const verified = verifier.verify({ scheme, publicKey, signature: fromHex(sig) }, fromHex(msg));
      expect(verified, `${tcId}: ${comment}`).toBe(result === "valid");
      counted[result] += 1;
    }
  }
  expect(counted.valid + counted.invalid).toBe(numberOfTests);
  expect(Math.min(counted.valid, counted.invalid)).toBeGreaterThan(50);
}
