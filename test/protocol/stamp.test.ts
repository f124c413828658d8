import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeStamp, encodeStamp, MAX_STAMP_BYTES, type Stamp } from "../../protocol/index.ts";
import { stampJson } from "../../protocol/stamp.ts";

const P256: Stamp = {
  scheme: "SIGNATURE_SCHEME_TK_API_P256",
  publicKey: Uint8Array.from([2, ...Array<number>(32).fill(0xab)]),
  signature: Uint8Array.of(0x30, 6, 2, 1, 1, 2, 1, 2),
};
const ED25519: Stamp = {
  scheme: "SIGNATURE_SCHEME_TK_API_ED25519",
  publicKey: new Uint8Array(32).fill(0xcd),
  signature: new Uint8Array(64).fill(0xef),
};

/** Computed by another program than the one that is tested. */
const GOLDEN: [string, Stamp, string][] = [
  [
    "P-256",
    P256,
    "eyJwdWJsaWNLZXkiOiIwMmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWIiLCJzY2hlbWUiOiJTSUdOQVRVUkVfU0NIRU1FX1RLX0FQSV9QMjU2Iiwic2lnbmF0dXJlIjoiMzAwNjAyMDEwMTAyMDEwMiJ9",
  ],
  [
    "Ed25519",
    ED25519,
    "eyJwdWJsaWNLZXkiOiJjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkY2RjZGNkIiwic2NoZW1lIjoiU0lHTkFUVVJFX1NDSEVNRV9US19BUElfRUQyNTUxOSIsInNpZ25hdHVyZSI6ImVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmZWZlZmVmIn0",
  ],
];

const malformed = expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_STAMP" });
const JSON_OF_P256 = {
  publicKey: `02${"ab".repeat(32)}`,
  scheme: "SIGNATURE_SCHEME_TK_API_P256",
  signature: "3006020101020102",
};
const header = (json: unknown) =>
  Buffer.from(typeof json === "string" ? json : JSON.stringify(json)).toString("base64url");

test.each(GOLDEN)("%s has fixed bytes", (_name, stamp, golden) => {
  expect(encodeStamp(stamp)).toBe(golden);
  expect(decodeStamp(golden)).toEqual(stamp);
});

test("takes what Turnkey's clients send: any order of fields, hex of either case", () => {
  const { publicKey, scheme, signature } = JSON_OF_P256;
  expect(decodeStamp(header({ signature, scheme, publicKey: publicKey.toUpperCase() }))).toEqual(P256);
  const k1 = { ...JSON_OF_P256, scheme: "SIGNATURE_SCHEME_TK_API_SECP256K1" };
  expect(decodeStamp(header(k1))).toMatchObject({ scheme: k1.scheme });
});

test("a signature of 72 bytes is the longest", () => {
  expect(decodeStamp(header({ ...JSON_OF_P256, signature: "ab".repeat(72) })).signature).toHaveLength(72);
  expect(() => decodeStamp(header({ ...JSON_OF_P256, signature: "ab".repeat(73) }))).toThrow(malformed);
});

test.each([
  ["nothing", ""],
  ["no base64url", "Zg=="],
  ["no JSON", header("stamp")],
  ["a list", header([])],
  ["a duplicate field", header(JSON.stringify(JSON_OF_P256).replace("{", '{"scheme":"SIGNATURE_SCHEME_TK_API_P256",'))],
  ["an unknown field", header({ ...JSON_OF_P256, alg: "none" })],
  ["an unknown scheme", header({ ...JSON_OF_P256, scheme: "SIGNATURE_SCHEME_TK_API_RSA" })],
  ["a name of Object.prototype as scheme", header({ ...JSON_OF_P256, scheme: "constructor" })],
  ["no signature", header({ ...JSON_OF_P256, signature: undefined })],
  ["an empty signature", header({ ...JSON_OF_P256, signature: "" })],
  ["half a byte of signature", header({ ...JSON_OF_P256, signature: "300" })],
  ["a signature in base64", header({ ...JSON_OF_P256, signature: "MAYCAQECAQI=" })],
  ["a key without compression", header({ ...JSON_OF_P256, publicKey: `04${"ab".repeat(64)}` })],
  ["a key of 32 bytes for P-256", header({ ...JSON_OF_P256, publicKey: "ab".repeat(32) })],
  ["a key of 33 bytes for Ed25519", header({ ...JSON_OF_P256, scheme: "SIGNATURE_SCHEME_TK_API_ED25519" })],
  ["more characters than a stamp has", "A".repeat(MAX_STAMP_BYTES + 1)],
  ["as many characters as it may have, of nothing", "A".repeat(MAX_STAMP_BYTES)],
])("refuses a stamp of %s", (_name, text) => {
  expect(() => decodeStamp(text)).toThrow(malformed);
});

test("what is taken without the schema is what the schema takes", () => {
  const hex = fc.oneof(
    fc.string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF"), maxLength: 146 }),
    fc.constantFrom("", "0", "ab\n", "ag", "AB".repeat(72), "AB".repeat(73), JSON_OF_P256.publicKey),
    fc.anything(),
  );
  const scheme = fc.oneof(
    fc.constantFrom(P256.scheme, ED25519.scheme, "SIGNATURE_SCHEME_TK_API_SECP256K1", "toString", "__proto__", ""),
    fc.anything(),
  );
  const keys = fc.constantFrom("publicKey", "scheme", "signature", "more");
  const object = fc.record({ publicKey: hex, scheme, signature: hex, more: hex }, { requiredKeys: [] });
  let taken = 0;
  fc.assert(
    fc.property(fc.record({ publicKey: hex, scheme, signature: hex }), object, keys, (whole, partial, drop) => {
      for (const given of [whole, partial, { ...whole, [drop]: partial.more }]) {
        const json = JSON.stringify(given);
        const fits = stampJson.safeParse(JSON.parse(json));
        let decoded: Stamp | "refused";
        try {
          decoded = decodeStamp(header(json));
        } catch {
          decoded = "refused";
        }
        if (decoded !== "refused") taken += 1;
        const bytes = fits.success ? fits.data.publicKey.length / 2 : 0;
        const length = fits.success && fits.data.scheme === ED25519.scheme ? 32 : 33;
        if (!fits.success || bytes !== length) expect(decoded).toBe("refused");
        else
          expect(decoded).toEqual({
            scheme: fits.data.scheme,
            publicKey: Uint8Array.from(Buffer.from(fits.data.publicKey, "hex")),
            signature: Uint8Array.from(Buffer.from(fits.data.signature, "hex")),
          });
      }
    }),
    { numRuns: 5_000 },
  );
  expect(taken).toBeGreaterThan(0);
});
