import { describe, expect, test } from "vitest";
import { checkAdministrators } from "../../../enclave/auth/administrators.ts";
import type { Manifest } from "../../../enclave/manifest.ts";
import { encodeHex, type Stamp, type StampScheme } from "../../../protocol/index.ts";

const keys = [1, 2, 3, 4].map((last) => Uint8Array.from([2, ...new Uint8Array(31), last]));
const [one, two, three, stranger] = keys as [Uint8Array<ArrayBuffer>, ...Uint8Array<ArrayBuffer>[]] as [
  Uint8Array<ArrayBuffer>,
  Uint8Array<ArrayBuffer>,
  Uint8Array<ArrayBuffer>,
  Uint8Array<ArrayBuffer>,
];

function manifest(threshold: number, administrators: readonly Uint8Array[] = [one, two, three]): Manifest {
  return {
    version: 1,
    deployment: "test",
    region: "us-east-1",
    kmsKeyArn: "arn:aws:kms:us-east-1:111122223333:key/1",
    administrators: { threshold, publicKeys: administrators.map(encodeHex) },
    egress: [],
    digest: new Uint8Array(32),
  };
}

function stampOf(publicKey: Uint8Array<ArrayBuffer>, scheme: StampScheme = "SIGNATURE_SCHEME_TK_API_P256"): Stamp {
  return { scheme, publicKey, signature: new Uint8Array(70) };
}

describe("enough", () => {
  test("is the threshold exactly, or more", () => {
    expect(() => checkAdministrators([stampOf(one)], manifest(1))).not.toThrow();
    expect(() => checkAdministrators([stampOf(one), stampOf(two)], manifest(2))).not.toThrow();
    expect(() => checkAdministrators([stampOf(one), stampOf(two), stampOf(three)], manifest(2))).not.toThrow();
  });

  test("is counted in whatever order they stamped, with strangers beside them", () => {
    for (const stamps of [
      [one, two],
      [two, one],
      [stranger, two, one],
    ]) {
      expect(() =>
        checkAdministrators(
          stamps.map((key) => stampOf(key)),
          manifest(2),
        ),
      ).not.toThrow();
    }
  });
});

describe("NOT_ENOUGH_ADMINISTRATORS", () => {
  test.each<[string, Stamp[], number]>([
    ["no stamp", [], 1],
    ["one less than the threshold", [stampOf(one), stampOf(two)], 3],
    ["one administrator twice", [stampOf(one), stampOf(one)], 2],
    ["a stranger", [stampOf(stranger)], 1],
    ["an administrator and a stranger", [stampOf(one), stampOf(stranger)], 2],
    ["an administrator's key under secp256k1", [stampOf(one, "SIGNATURE_SCHEME_TK_API_SECP256K1")], 1],
    ["an administrator's key under Ed25519", [stampOf(one, "SIGNATURE_SCHEME_TK_API_ED25519")], 1],
    ["two schemes of one key", [stampOf(one), stampOf(one, "SIGNATURE_SCHEME_TK_API_SECP256K1")], 2],
  ])("for %s", (_what, stamps, threshold) => {
    expect(() => checkAdministrators(stamps, manifest(threshold))).toThrow(
      expect.objectContaining({ code: "NOT_ENOUGH_ADMINISTRATORS" }),
    );
  });

  test("for a key that the manifest names twice", () => {
    expect(() => checkAdministrators([stampOf(one)], manifest(2, [one, one, two]))).toThrow(
      expect.objectContaining({ code: "NOT_ENOUGH_ADMINISTRATORS" }),
    );
  });
});
