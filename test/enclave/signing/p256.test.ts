/** P-256 over digests: RFC 6979's vectors, and node:crypto as the judge. It needs the addon: `make native`. */

import { spawnSync } from "node:child_process";
import { createECDH, createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addTweak, isPrivateKey, publicKeyOf, signDigest } from "../../../enclave/signing/p256.ts";
import { nativeFolder } from "../../support/native.ts";
import { fromHex } from "../../support/wycheproof.ts";

const isBuilt = existsSync("dist/native/p256.node");
if (!isBuilt) process.stderr.write("skipped: P-256 needs `make native`\n");

/** FIPS 186-4, D.1.2.3. */
const ORDER = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");

const scalar = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, "0"));
const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
const sha256 = (bytes: Uint8Array | string): Buffer => createHash("sha256").update(bytes).digest();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function keyObjectOf(point: Uint8Array): KeyObject {
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => Buffer.from(part).toString("base64url"));
  return createPublicKey({ key: { kty: "EC", crv: "P-256", x: x ?? "", y: y ?? "" }, format: "jwk" });
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe.skipIf(!isBuilt)("P-256", () => {
  // RFC 6979, A.2.5.
  const KEY = fromHex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");

  test("RFC 6979, A.2.5: the public key", () => {
    expect(hex(publicKeyOf(KEY, false))).toBe(
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    );
    expect(hex(publicKeyOf(KEY, true))).toBe("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
  });

  test.each([
    [
      "sample",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ],
    [
      "test",
      "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
    ],
  ])("RFC 6979, A.2.5: SHA-256 of %j", (message, expected) => {
    expect(hex(signDigest(sha256(message), KEY))).toBe(expected);
  });

  test("the first vector's s is high: it is not normalised", () => {
    expect(numberOf(signDigest(sha256("sample"), KEY).subarray(32)) > ORDER / 2n).toBe(true);
  });

  test("public keys are those of node:crypto, and it verifies the signatures", () => {
    fc.assert(
      fc.property(
        bytes32.filter((key) => isPrivateKey(key)),
        fc.uint8Array(),
        (key, message) => {
          const ecdh = createECDH("prime256v1");
          ecdh.setPrivateKey(key);
          expect(hex(publicKeyOf(key, false))).toBe(ecdh.getPublicKey("hex"));
          expect(hex(publicKeyOf(key, true))).toBe(ecdh.getPublicKey("hex", "compressed"));
          const before = key.slice();
          const signature = signDigest(sha256(message), key);
          expect(signDigest(sha256(message), key)).toEqual(signature);
          expect(key).toEqual(before);
          const judge = { key: keyObjectOf(publicKeyOf(key, false)), dsaEncoding: "ieee-p1363" } as const;
          expect(verify("sha256", message, judge, signature)).toBe(true);
          expect(verify("sha256", Uint8Array.of(...message, 0), judge, signature)).toBe(false);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("a private key is a scalar between 1 and n - 1, of 32 bytes", () => {
    for (const value of [1n, 2n, 2n ** 255n, ORDER - 1n]) expect(isPrivateKey(scalar(value))).toBe(true);
    for (const value of [0n, ORDER, ORDER + 1n, 2n ** 256n - 1n]) expect(isPrivateKey(scalar(value))).toBe(false);
    // Every place where the comparison could go wrong: n with one byte more, or one less.
    for (let place = 0n; place < 32n; place += 1n) {
      const step = 1n << (8n * place);
      expect(isPrivateKey(scalar(ORDER - step))).toBe(true);
      if (ORDER + step < 2n ** 256n) expect(isPrivateKey(scalar(ORDER + step))).toBe(false);
    }
    for (const length of [0, 31, 33]) expect(isPrivateKey(new Uint8Array(length).fill(1))).toBe(false);
  });

  test("addTweak adds modulo n, and leaves its input", () => {
    fc.assert(
      fc.property(bytes32, bytes32, (key, tweak) => {
        fc.pre(isPrivateKey(key));
        const before = key.slice();
        const sum = (numberOf(key) + numberOf(tweak)) % ORDER;
        const isSum = numberOf(tweak) < ORDER && sum !== 0n;
        expect(addTweak(key, tweak)).toEqual(isSum ? scalar(sum) : undefined);
        expect(key).toEqual(before);
      }),
    );
    expect(addTweak(scalar(ORDER - 2n), scalar(5n))).toEqual(scalar(3n));
    expect(addTweak(scalar(3n), scalar(0n))).toEqual(scalar(3n));
  });

  test.each([
    ["a sum of zero", scalar(ORDER - 2n), scalar(2n)],
    ["a tweak of n", scalar(1n), scalar(ORDER)],
    ["a tweak over n", scalar(1n), scalar(2n ** 256n - 1n)],
    ["a key of zero", scalar(0n), scalar(1n)],
    ["a key of n", scalar(ORDER), scalar(1n)],
  ])("addTweak gives nothing for %s", (_what, key, tweak) => {
    expect(addTweak(key, tweak)).toBeUndefined();
  });

  test.each([
    ["0", scalar(0n)],
    ["n", scalar(ORDER)],
  ])("key %s neither signs nor has a public key", (_name, key) => {
    expect(() => signDigest(sha256("x"), key)).toThrow("not a private key");
    expect(() => publicKeyOf(key, true)).toThrow("not a private key");
  });

  test.each([0, 20, 31, 33, 64])("a digest of %i bytes is refused", (length) => {
    expect(() => signDigest(new Uint8Array(length), KEY)).toThrow(TypeError);
  });
});

test("where the addon is not built, the first use says how to build it", () => {
  const copy = nativeFolder();
  for (const folder of ["enclave/signing", "vsock", "protocol"])
    cpSync(folder, join(copy, folder), { recursive: true });
  cpSync("package.json", join(copy, "package.json"));
  symlinkSync(resolve("node_modules"), join(copy, "node_modules"));
  mkdirSync(join(copy, "dist"));
  const script = `
    const { isPrivateKey } = await import("./enclave/signing/p256.ts");
    try { isPrivateKey(new Uint8Array(32)); } catch ({ code, message }) { process.stdout.write(code + " " + message); }
  `;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: copy,
    encoding: "utf8",
  });
  expect(stdout).toMatch(/^NATIVE_MISSING p256\.node is not built: run `make native`/);
});
