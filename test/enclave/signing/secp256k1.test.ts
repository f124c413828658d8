import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { type Hex, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { ethereumAddress } from "../../../enclave/signing/ethereum-address.ts";
import {
  addTweak,
  isPrivateKey,
  publicKeyOf,
  randomizeContext,
  recoverPublicKey,
  secp256k1Binding,
  signRecoverable,
  verifyDer,
} from "../../../enclave/signing/secp256k1.ts";
import { fromHex, isAbsent, readVectors, type SignatureCase } from "../../support/wycheproof.ts";

/** SEC 2, 2.4.1. */
const ORDER = BigInt("0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");

function scalar(value: bigint): Uint8Array<ArrayBuffer> {
  return fromHex(value.toString(16).padStart(64, "0"));
}

function sha256(bytes: Uint8Array | string): Buffer {
  return createHash("sha256").update(bytes).digest();
}

test("a private key is a scalar between 1 and n - 1, of 32 bytes", () => {
  expect(isPrivateKey(scalar(0n))).toBe(false);
  expect(isPrivateKey(scalar(1n))).toBe(true);
  expect(isPrivateKey(scalar(ORDER - 1n))).toBe(true);
  expect(isPrivateKey(scalar(ORDER))).toBe(false);
  expect(isPrivateKey(scalar(2n ** 256n - 1n))).toBe(false);
  expect(isPrivateKey(new Uint8Array(31).fill(1))).toBe(false);
  expect(isPrivateKey(new Uint8Array(33).fill(1))).toBe(false);
  expect(isPrivateKey(new Uint8Array(0))).toBe(false);
});

test("public keys are those that node:crypto computes", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
  const { d = "" } = privateKey.export({ format: "jwk" });
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  const uncompressed = Buffer.concat([Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  const secret = Buffer.from(d, "base64url");
  expect(Buffer.from(publicKeyOf(secret, false))).toEqual(uncompressed);
  const compressed = Buffer.concat([Uint8Array.of(2 + ((uncompressed[64] ?? 0) & 1)), uncompressed.subarray(1, 33)]);
  expect(Buffer.from(publicKeyOf(secret, true))).toEqual(compressed);
});

describe("addTweak", () => {
  test("adds modulo n and leaves its input", () => {
    const key = scalar(ORDER - 2n);
    expect(addTweak(key, scalar(5n))).toEqual(scalar(3n));
    expect(key).toEqual(scalar(ORDER - 2n));
  });

  test.each<[string, Uint8Array, Uint8Array]>([
    ["a sum of zero", scalar(ORDER - 2n), scalar(2n)],
    ["a tweak of n", scalar(1n), scalar(ORDER)],
    ["a tweak over n", scalar(1n), scalar(ORDER + 1n)],
  ])("gives nothing for %s", (_what, key, tweak) => {
    expect(addTweak(key, tweak)).toBeUndefined();
  });
});

describe("signRecoverable", () => {
  // RFC 6979 has no vectors for secp256k1. These are Trezor's and CoreBitcoin's, in python-ecdsa's and bitcoinjs's tests.
  test.each<[string, bigint, string, string]>([
    [
      "1",
      1n,
      "Satoshi Nakamoto",
      "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
    ],
    [
      "1",
      1n,
      "All those moments will be lost in time, like tears in rain. Time to die...",
      "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
    ],
    [
      "n - 1",
      ORDER - 1n,
      "Satoshi Nakamoto",
      "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d06b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
    ],
  ])("gives the known signature of key %s over %s", (_name, key, message, rs) => {
    expect(toHex(signRecoverable(sha256(message), scalar(key)).rs)).toBe(`0x${rs}`);
  });

  test("signs as viem does, with the low s and the right recovery id, before and after blinding", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        async (digest, secret) => {
          fc.pre(isPrivateKey(secret));
          const account = privateKeyToAccount(toHex(secret));
          const { rs, recoveryId } = signRecoverable(digest, secret);
          randomizeContext(sha256(rs));
          expect(signRecoverable(digest, secret)).toEqual({ rs, recoveryId });
          const v = (27 + recoveryId).toString(16);
          expect(`${toHex(rs)}${v}`).toBe(await account.sign({ hash: toHex(digest) }));
          expect(BigInt(toHex(rs.subarray(32))) <= ORDER / 2n).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("recovers the key that signed", () => {
    const { rs, recoveryId } = signRecoverable(sha256("body"), scalar(5n));
    expect(recoverPublicKey(sha256("body"), rs, recoveryId)).toEqual(publicKeyOf(scalar(5n), false));
    expect(recoverPublicKey(sha256("body"), new Uint8Array(64), recoveryId)).toBeUndefined();
  });

  test.each<[string, Uint8Array, Uint8Array]>([
    ["key 0", new Uint8Array(32), scalar(0n)],
    ["key n", new Uint8Array(32), scalar(ORDER)],
    ["a digest of 31 bytes", new Uint8Array(31), scalar(1n)],
  ])("throws for %s", (_what, digest, key) => {
    expect(() => signRecoverable(digest, key)).toThrow();
  });
});

const VECTORS = "ecdsa_secp256k1_sha256_bitcoin_test";
/** Right but for their s: one that was negated, and (n + 1) / 2. */
const HIGH_S_CASES: ReadonlySet<number> = new Set([1, 388]);

describe("verifyDer", () => {
  // The one difference from Bitcoin's rule: a high s is accepted on purpose. Stamps are authorisations that the replay
  // guard counts by request id, not by signature, so a second signature of the same body gains nobody anything.
  test.skipIf(isAbsent(VECTORS))("C2SP/wycheproof, ECDSA secp256k1 in DER, save for the high s", () => {
    interface Group {
      readonly publicKey: { readonly uncompressed: string };
    }
    const { numberOfTests, testGroups } = readVectors<Group, SignatureCase>(VECTORS);
    const counted = { valid: 0, invalid: 0, highS: 0 };
    for (const { publicKey, tests } of testGroups) {
      const uncompressed = fromHex(publicKey.uncompressed);
      const compressed = Uint8Array.of(2 + ((uncompressed[64] ?? 0) & 1), ...uncompressed.subarray(1, 33));
      for (const { tcId, comment, msg, sig, result } of tests) {
        const isHighS = HIGH_S_CASES.has(tcId);
        for (const key of [uncompressed, compressed]) {
          const verified = verifyDer(sha256(fromHex(msg)), fromHex(sig), key);
          expect(verified, `${tcId}: ${comment}`).toBe(result === "valid" || isHighS);
        }
        counted[isHighS ? "highS" : result] += 1;
      }
    }
    expect(counted.valid + counted.invalid + counted.highS).toBe(numberOfTests);
    expect(counted.highS).toBe(HIGH_S_CASES.size);
    expect(Math.min(counted.valid, counted.invalid)).toBeGreaterThan(100);
  });

  test("verifies what OpenSSL signs, and nothing else", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    const key = publicKey.export({ type: "spki", format: "der" }).subarray(-65);
    const body = Buffer.from("body");
    const signature = sign("sha256", body, privateKey);
    expect(verifyDer(sha256(body), signature, key)).toBe(true);
    expect(verifyDer(sha256("another"), signature, key)).toBe(false);
    expect(verifyDer(sha256(body), signature, publicKeyOf(scalar(1n), true))).toBe(false);
  });

  test.each<[string, Uint8Array]>([
    ["no bytes", new Uint8Array(0)],
    ["a point off the curve", Uint8Array.of(2, ...new Uint8Array(31), 5)],
    ["an x over the field", Uint8Array.of(2, ...new Uint8Array(32).fill(255))],
    ["a compressed key of 32 bytes", publicKeyOf(scalar(1n), true).subarray(0, 32)],
    ["an unknown prefix", Uint8Array.of(8, ...publicKeyOf(scalar(1n), true).subarray(1))],
  ])("is false, not an exception, for a key that is %s", (_what, key) => {
    const digest = sha256("body");
    const { rs } = signRecoverable(digest, scalar(1n));
    const integer = (bytes: Uint8Array) => Uint8Array.of(2, 33, 0, ...bytes);
    const body = [...integer(rs.subarray(0, 32)), ...integer(rs.subarray(32))];
    expect(verifyDer(digest, Uint8Array.of(0x30, body.length, ...body), key)).toBe(false);
  });
});

describe("the enclave's modules", () => {
  /** Every CommonJS module that a process holds after it imported one, by path from its package's folder on. */
  function loadedBy(module: string): string[] {
    const script = `
      import { createRequire } from "node:module";
      await import(${JSON.stringify(module)});
      console.log(JSON.stringify(Object.keys(createRequire(import.meta.url).cache)));
    `;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
      encoding: "utf8",
      timeout: 20_000,
    });
    expect(stderr).not.toContain("Error");
    expect(status).toBe(0);
    return (JSON.parse(stdout) as string[]).map((path) => path.replaceAll("\\", "/"));
  }

  test("hold one native binding of libsecp256k1, the one that is named, and not its stand-in in JavaScript", () => {
    const loaded = loadedBy(new URL("../../../enclave/index.ts", import.meta.url).href);
    const bindings = loaded.filter((path) => /\/secp256k1\/.*\.node$|\/secp256k1\.node$/.test(path));
    expect(bindings).toHaveLength(1);
    expect(secp256k1Binding).toMatch(
      bindings[0]?.endsWith("/dist/native/secp256k1.node") ? /^libsecp256k1 0\.5\.0$/ : /^npm secp256k1 5\.0\.2$/,
    );
    expect(loaded.filter((path) => path.endsWith("/secp256k1/elliptic.js"))).toEqual([]);
    expect(loaded.filter((path) => path.includes("/node_modules/elliptic/"))).toEqual([]);
  });

  test("would be caught holding it", () => {
    const elliptic = import.meta.resolve("secp256k1/elliptic.js");
    expect(loadedBy(elliptic).some((path) => path.includes("/node_modules/elliptic/"))).toBe(true);
  });
});

describe("ethereumAddress", () => {
  // EIP-55, "Test Cases": what has an address has a key somewhere, so the keys here are of known addresses instead.
  test.each<[string, string]>([
    ["ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"],
    ["59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"],
    ["0000000000000000000000000000000000000000000000000000000000000001", "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"],
  ])("of key %s", (key, address) => {
    expect(ethereumAddress(publicKeyOf(fromHex(key), false))).toBe(address);
  });

  test("has the mixed case that viem gives it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (secret) => {
        fc.pre(isPrivateKey(secret));
        const key: Hex = toHex(secret);
        expect(ethereumAddress(publicKeyOf(secret, false))).toBe(privateKeyToAccount(key).address);
      }),
      { numRuns: 100 },
    );
  });
});
