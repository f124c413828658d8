/** BIP-340 and BIP-341, by the vectors of their authors. They need our own binding: `make native`. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addTweak,
  isPrivateKey,
  publicKeyOf,
  secp256k1Binding,
  signSchnorr,
  tweakPublicKey,
  tweakXOnlyPublicKey,
  verifySchnorr,
  xOnlyPublicKeyOf,
} from "../../../enclave/signing/secp256k1.ts";
import { libsecp256k1 } from "../../support/libsecp256k1.ts";
import { fromHex } from "../../support/wycheproof.ts";

const isOurs = secp256k1Binding.startsWith("libsecp256k1");
if (!isOurs) process.stderr.write("skipped: Schnorr signatures need `make native`\n");

interface Bip340Vector {
  readonly number: number;
  readonly bytes: Readonly<Record<string, Uint8Array>>;
  readonly isSigned: boolean;
  readonly isValid: boolean;
}

/** BIP-340's test-vectors.csv, as libsecp256k1's own tests hold it: out of their source, so that no copy of it is here. */
function readBip340({ folder }: { readonly folder: string }): Bip340Vector[] {
  const source = readFileSync(join(folder, "src/modules/schnorrsig/tests_impl.h"), "utf8");
  const [, ...parts] = source.split("/* Test vector ");
  return parts.map((part) => {
    const body = part.slice(0, part.indexOf("\n    }\n"));
    const bytes: Record<string, Uint8Array> = { msg: new Uint8Array(0) };
    for (const [, name = "", values = ""] of body.matchAll(/^ +const unsigned char (\w+)\[\d*\] = \{([^}]*)\}/gm))
      bytes[name] = Uint8Array.from(values.match(/0x[0-9A-F]{2}/g) ?? [], Number);
    // The longest message is written in another way.
    const [, length, value] = /msg\[(\d+)\];\s+memset\(msg, (0x..), sizeof\(msg\)\)/.exec(body) ?? [];
    if (value !== undefined) bytes["msg"] = new Uint8Array(Number(length)).fill(Number(value));
    const isSigned = body.includes("_check_signing(");
    return { number: Number.parseInt(part, 10), bytes, isSigned, isValid: body.includes("sig, 1);") };
  });
}

const at = (bytes: Readonly<Record<string, Uint8Array>>, name: string): Uint8Array => bytes[name] ?? new Uint8Array(0);

describe.skipIf(!isOurs || libsecp256k1 === undefined)("BIP-340's vectors", () => {
  const vectors = libsecp256k1 === undefined ? [] : readBip340(libsecp256k1);

  test("are all there", () => {
    expect(vectors.map(({ number }) => number)).toEqual(Array.from({ length: 19 }, (_, index) => index));
    expect(vectors.filter(({ isSigned }) => isSigned)).toHaveLength(8);
    expect(vectors.filter(({ isValid }) => isValid)).toHaveLength(9);
    const lengths = vectors.map(({ bytes }) => at(bytes, "msg").length);
    expect(lengths.filter((length) => length !== 32)).toEqual([0, 0, 0, 1, 17, 100]);
  });

  test.each(vectors)("$number", ({ bytes, isSigned, isValid }) => {
    const [sk, pk, auxRand, message] = [at(bytes, "sk"), at(bytes, "pk"), at(bytes, "aux_rand"), at(bytes, "msg")];
    // Keys that are none come without a signature: any will do.
    const signature = bytes["sig"] ?? new Uint8Array(64).fill(1);
    expect(verifySchnorr(signature, message, pk)).toBe(isValid);
    if (!isSigned) return;
    expect(xOnlyPublicKeyOf(sk)).toEqual(pk);
    if (message.length === 32) expect(signSchnorr(message, sk, auxRand)).toEqual(signature);
    else expect(() => signSchnorr(message, sk, auxRand)).toThrow(TypeError);
  });
});

// BIP-341, wallet-test-vectors.json: the first output, and the first input that is spent by its key.
describe("BIP-341's vectors", () => {
  const INTERNAL = fromHex("d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d");
  const TWEAK = fromHex("b86e7be8f39bab32a6f2c0443abbc210f0edac0e2c53d501b36b64437d9c6c70");
  const OUTPUT = fromHex("53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343");
  const PRIVATE = fromHex("6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa");
  const SIGHASH = fromHex("2514a6272f85cfa0f45eb907fcb0d121b808ed37c6ea160a5a9046ed5526d555");
  const WITNESS =
    "ed7c1647cb97379e76892be0cacff57ec4a7102aa24296ca39af7541246d8ff14d38958d4cc1e2e478e4d4a764bbfd835b16d4e314b72937b29833060b87276c";

  test("the tweak is TapTweak's hash of the key", () => {
    const tag = createHash("sha256").update("TapTweak").digest();
    expect(createHash("sha256").update(tag).update(tag).update(INTERNAL).digest("hex")).toBe(
      Buffer.from(TWEAK).toString("hex"),
    );
  });

  test("the output key is the internal key, tweaked", () => {
    expect(tweakXOnlyPublicKey(INTERNAL, TWEAK)?.xOnly).toEqual(OUTPUT);
  });

  test.skipIf(!isOurs)("the key's signature is by the tweaked key", () => {
    expect(xOnlyPublicKeyOf(PRIVATE)).toEqual(INTERNAL);
    const signature = signSchnorr(SIGHASH, PRIVATE, new Uint8Array(32), TWEAK);
    expect(Buffer.from(signature).toString("hex")).toBe(WITNESS);
    expect(verifySchnorr(signature, SIGHASH, OUTPUT)).toBe(true);
    expect(verifySchnorr(signature, SIGHASH, INTERNAL)).toBe(false);
  });
});

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const key32 = bytes32.filter(isPrivateKey);

describe("tweaked keys", () => {
  test("have the parity of the point that the sum is", () => {
    const parities = new Set<number>();
    fc.assert(
      fc.property(key32, bytes32, (key, tweak) => {
        const even = Uint8Array.of(2, ...xOnlyPublicKeyOf(key));
        const expected = tweakPublicKey(even, tweak);
        const tweaked = tweakXOnlyPublicKey(xOnlyPublicKeyOf(key), tweak);
        expect(tweaked && Uint8Array.of(2 + tweaked.parity, ...tweaked.xOnly)).toEqual(expected);
        if (tweaked !== undefined) parities.add(tweaked.parity);
      }),
    );
    expect(parities).toEqual(new Set([0, 1]));
  });

  test("derive publicly what they derive privately", () => {
    fc.assert(
      fc.property(key32, bytes32, (key, tweak) => {
        const child = addTweak(key, tweak);
        expect(tweakPublicKey(publicKeyOf(key, true), tweak)).toEqual(child && publicKeyOf(child, true));
        expect(tweakPublicKey(publicKeyOf(key, false), tweak)).toEqual(child && publicKeyOf(child, true));
      }),
      { numRuns: 50 },
    );
  });

  test.each([0, 31, 33, 64])("an x-only key of %i bytes is a TypeError", (length) => {
    expect(() => tweakXOnlyPublicKey(new Uint8Array(length), new Uint8Array(32))).toThrow(TypeError);
  });

  test("an x that is on no point has no tweaked key", () => {
    expect(tweakXOnlyPublicKey(new Uint8Array(32).fill(255), new Uint8Array(32))).toBeUndefined();
  });
});

describe.skipIf(!isOurs)("signSchnorr", () => {
  test("verifies under the key, or under the tweaked key, and under no other", () => {
    fc.assert(
      fc.property(key32, bytes32, fc.option(bytes32), fc.option(bytes32), (key, message, auxRand, tweak) => {
        const plain = xOnlyPublicKeyOf(key);
        const signer = tweak === null ? plain : (tweakXOnlyPublicKey(plain, tweak)?.xOnly ?? plain);
        const before = key.slice();
        const signature = signSchnorr(message, key, auxRand, tweak);
        expect(key).toEqual(before);
        expect(verifySchnorr(signature, message, signer)).toBe(true);
        if (tweak !== null) expect(verifySchnorr(signature, message, plain)).toBe(false);
        message[0] = (message[0] ?? 0) ^ 1;
        expect(verifySchnorr(signature, message, signer)).toBe(false);
      }),
    );
  });

  test("no auxiliary randomness is 32 zeros", () => {
    const [key, message] = [new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)];
    expect(signSchnorr(message, key, null)).toEqual(signSchnorr(message, key, new Uint8Array(32)));
    expect(signSchnorr(message, key, null)).not.toEqual(signSchnorr(message, key, new Uint8Array(32).fill(1)));
  });

  test("an empty tweak is refused, and not taken for none", () => {
    const [key, message] = [new Uint8Array(32).fill(3), new Uint8Array(32).fill(4)];
    expect(() => signSchnorr(message, key, null, new Uint8Array(0))).toThrow(TypeError);
    expect(() => signSchnorr(message, key, new Uint8Array(0))).toThrow(TypeError);
  });

  test.each([
    ["0", new Uint8Array(32)],
    ["n", fromHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")],
  ])("throws for key %s", (_name, key) => {
    expect(() => signSchnorr(new Uint8Array(32), key, null)).toThrow("not a private key");
  });

  test("throws for a tweak that leaves no key", () => {
    const one = fromHex("01".padStart(64, "0"));
    const minusOne = fromHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140");
    expect(() => signSchnorr(new Uint8Array(32), one, null, minusOne)).toThrow("not a private key");
  });
});
