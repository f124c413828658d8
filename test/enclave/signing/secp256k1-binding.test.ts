/** Our binding of libsecp256k1 and npm's: the same vectors for both, and the same bytes from both. */
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { npmSecp256k1, type Secp256k1Binding } from "../../../enclave/signing/secp256k1-binding.ts";
import { libsecp256k1, libsecp256k1IsAbsent } from "../../support/libsecp256k1.ts";
import { buildForTest, compiler } from "../../support/native.ts";
import { fromHex, isAbsent, readVectors, type SignatureCase } from "../../support/wycheproof.ts";

const ORDER = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const canCompile = compiler !== undefined && !libsecp256k1IsAbsent;
const npm = npmSecp256k1();
const bindings: readonly (readonly [string, Secp256k1Binding])[] = [
  ["npm secp256k1 5.0.2", npm],
  ...(canCompile ? [["libsecp256k1 0.5.0", ours()] as const] : []),
];

function ours(): Secp256k1Binding {
  return createRequire(import.meta.url)(buildForTest("secp256k1.node", "test", libsecp256k1)) as Secp256k1Binding;
}

const sha256 = (text: string): Uint8Array => createHash("sha256").update(text).digest();
const scalar = (value: number): Uint8Array => fromHex(value.toString(16).padStart(64, "0"));
const zeros = new Uint8Array(32);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe.each(bindings)("%s", (version, binding) => {
  const publicKey = (key: Uint8Array): Uint8Array => {
    const point = new Uint8Array(33);
    expect(binding.publicKey(key, point)).toBe(true);
    return point;
  };

  test("says its name and version", () => {
    expect(binding.version).toBe(version);
  });

  test("computes G and 2G", () => {
    expect(hex(publicKey(scalar(1)))).toBe("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    expect(hex(publicKey(scalar(2)))).toBe("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5");
  });

  // Trezor's and CoreBitcoin's, in python-ecdsa's and bitcoinjs's tests.
  test("signs with the nonce of RFC 6979, before and after blinding", () => {
    const expected =
      "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5";
    for (const seed of [sha256("a seed"), sha256("another")]) {
      const rs = new Uint8Array(64);
      expect(binding.signRecoverable(sha256("Satoshi Nakamoto"), scalar(1), rs)).toBeGreaterThanOrEqual(0);
      expect(hex(rs)).toBe(expected);
      expect(binding.randomize(seed)).toBe(true);
    }
  });

  test("refuses keys that are none", () => {
    for (const key of [zeros, fromHex(ORDER), new Uint8Array(32).fill(255)]) {
      expect(binding.isPrivateKey(key)).toBe(false);
      expect(binding.publicKey(key, new Uint8Array(33))).toBe(false);
      expect(binding.signRecoverable(sha256("x"), key, new Uint8Array(64))).toBe(-1);
    }
    for (const length of [0, 31, 33]) expect(binding.isPrivateKey(new Uint8Array(length).fill(1))).toBe(false);
  });

  test("adds to private keys and to public keys alike", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (key, tweak) => {
          fc.pre(binding.isPrivateKey(key));
          const child = Uint8Array.from(key);
          const point = new Uint8Array(33);
          const isDone = binding.addTweak(child, tweak);
          expect(binding.tweakPublicKey(publicKey(key), tweak, point)).toBe(isDone);
          if (isDone) expect(point).toEqual(publicKey(child));
        },
      ),
      { numRuns: 100 },
    );
  });

  test("has no sum for a tweak of n, and none for a sum of zero", () => {
    const minusOne = fromHex(ORDER.replace(/41$/, "40"));
    for (const [key, tweak] of [
      [scalar(1), fromHex(ORDER)],
      [scalar(1), minusOne],
    ] as const) {
      expect(binding.addTweak(Uint8Array.from(key), tweak)).toBe(false);
      expect(binding.tweakPublicKey(publicKey(key), tweak, new Uint8Array(33))).toBe(false);
    }
    const offTheCurve = Uint8Array.of(2, ...new Uint8Array(31), 5);
    expect(binding.tweakPublicKey(offTheCurve, scalar(1), new Uint8Array(33))).toBe(false);
  });

  test("recovers who signed, and nobody from what is no signature", () => {
    const digest = sha256("body");
    const rs = new Uint8Array(64);
    const id = binding.signRecoverable(digest, scalar(7), rs);
    const point = new Uint8Array(33);
    expect(binding.recover(digest, rs, id, point)).toBe(true);
    expect(point).toEqual(publicKey(scalar(7)));
    expect(binding.recover(digest, rs, 1 - id, point)).toBe(true);
    expect(point).not.toEqual(publicKey(scalar(7)));
    expect(binding.recover(digest, new Uint8Array(64), id, point)).toBe(false);
    expect(binding.recover(digest, new Uint8Array(64).fill(255), id, point)).toBe(false);
    for (const none of [-1, 4, 0.5, Number.NaN])
      expect(() => binding.recover(digest, rs, none, point)).toThrow(TypeError);
  });

  const VECTORS = "ecdsa_secp256k1_sha256_bitcoin_test";
  test.skipIf(isAbsent(VECTORS))("verifies C2SP/wycheproof, ECDSA secp256k1 in DER, save for the high s", () => {
    const { testGroups } = readVectors<{ readonly publicKey: { readonly uncompressed: string } }, SignatureCase>(
      VECTORS,
    );
    let count = 0;
    for (const { publicKey, tests } of testGroups) {
      for (const { tcId, msg, sig, result } of tests) {
        const digest = createHash("sha256").update(fromHex(msg)).digest();
        const isGood = binding.verifyDer(digest, fromHex(sig), fromHex(publicKey.uncompressed));
        expect(isGood, `${tcId}`).toBe(result === "valid" || tcId === 1 || tcId === 388);
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(400);
  });

  test("refuses other lengths and types by a TypeError", () => {
    const [key, point, rs] = [new Uint8Array(32).fill(1), new Uint8Array(33), new Uint8Array(64)];
    const short = new Uint8Array(31);
    const text = "0".repeat(32) as unknown as Uint8Array;
    for (const bad of [short, text, new Uint8Array(0)]) {
      expect(() => binding.randomize(bad)).toThrow(TypeError);
      expect(() => binding.publicKey(bad, point)).toThrow(TypeError);
      expect(() => binding.publicKey(key, bad)).toThrow(TypeError);
      expect(() => binding.addTweak(bad, key)).toThrow(TypeError);
      expect(() => binding.addTweak(key, bad)).toThrow(TypeError);
      expect(() => binding.tweakPublicKey(bad, key, point)).toThrow(TypeError);
      expect(() => binding.tweakPublicKey(point, bad, point)).toThrow(TypeError);
      expect(() => binding.tweakPublicKey(point, key, bad)).toThrow(TypeError);
      expect(() => binding.signRecoverable(bad, key, rs)).toThrow(TypeError);
      expect(() => binding.signRecoverable(key, bad, rs)).toThrow(TypeError);
      expect(() => binding.signRecoverable(key, key, bad)).toThrow(TypeError);
      expect(() => binding.recover(bad, rs, 0, point)).toThrow(TypeError);
      expect(() => binding.recover(key, bad, 0, point)).toThrow(TypeError);
      expect(() => binding.recover(key, rs, 0, bad)).toThrow(TypeError);
      expect(() => binding.verifyDer(bad, rs, point)).toThrow(TypeError);
    }
    expect(() => binding.isPrivateKey(text)).toThrow(TypeError);
    expect(() => binding.verifyDer(key, text, point)).toThrow(TypeError);
    expect(() => binding.verifyDer(key, rs, text)).toThrow(TypeError);
    expect(binding.verifyDer(key, new Uint8Array(0), new Uint8Array(0))).toBe(false);
  });
});

test.skipIf(!canCompile)("both give the same bytes for the same input", () => {
  const own = ours();
  const call = (binding: Secp256k1Binding, digest: Uint8Array, key: Uint8Array): readonly unknown[] => {
    const [rs, point, tweaked, child] = [new Uint8Array(64), new Uint8Array(65), new Uint8Array(65), key.slice()];
    const id = binding.signRecoverable(digest, key, rs);
    const hasPoint = binding.publicKey(key, point);
    const hasTweaked = hasPoint && binding.tweakPublicKey(point, digest, tweaked);
    return [id, rs, hasPoint, point, hasTweaked, tweaked, binding.addTweak(child, digest), child];
  };
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (digest, key) => {
        expect(call(own, digest, key)).toEqual(call(npm, digest, key));
      },
    ),
    { numRuns: 200 },
  );
});

test("npm's has no Schnorr signatures, and says what has them", () => {
  const expected = { name: "NativeError", code: "NATIVE_MISSING", message: expect.stringContaining("make native") };
  for (const call of [
    () => npm.signSchnorr(zeros, scalar(1), null, null, new Uint8Array(64)),
    () => npm.verifySchnorr(new Uint8Array(64), zeros, zeros),
  ]) {
    expect(call).toThrow(expect.objectContaining(expected));
  }
});
