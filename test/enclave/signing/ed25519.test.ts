import { createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { publicKeyOf, signMessage } from "../../../enclave/signing/ed25519.ts";
import { RFC_8032_VECTORS } from "../../support/rfc8032.ts";
import { fromHex } from "../../support/wycheproof.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test.each(RFC_8032_VECTORS)("RFC 8032, seed %s", (seed, publicKey, message, signature) => {
  expect(hex(publicKeyOf(fromHex(seed)))).toBe(publicKey);
  expect(hex(signMessage(fromHex(message), fromHex(seed)))).toBe(signature);
});

test("node:crypto verifies what it signs, and the seed stays as it was", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 2000 }),
      (seed, message) => {
        const before = seed.slice();
        const signature = signMessage(message, seed);
        expect(seed).toEqual(before);
        const x = Buffer.from(publicKeyOf(seed)).toString("base64url");
        const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
        expect(verify(null, message, key, signature)).toBe(true);
        expect(verify(null, Uint8Array.of(...message, 0), key, signature)).toBe(false);
      },
    ),
    { numRuns: 100 },
  );
});

test.each([0, 31, 33, 64])("a seed of %i bytes is refused", (length) => {
  expect(() => signMessage(new Uint8Array(1), new Uint8Array(length))).toThrow(TypeError);
  expect(() => publicKeyOf(new Uint8Array(length))).toThrow(TypeError);
});
