import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { importP384Key, verifyEs384 } from "../../attestation/ecdsa.ts";
import { VECTORS } from "./genuine.ts";

const FILE = join(VECTORS, "wycheproof", "ecdsa_secp384r1_sha384_p1363_test.json");
const ABSENT = !existsSync(FILE);
if (ABSENT) process.stderr.write(`skipped: no ${FILE}; name its folder in CLOISTER_VECTORS\n`);

interface Vectors {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly publicKey: { readonly uncompressed: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: "valid" | "invalid";
    }[];
  }[];
}

test.skipIf(ABSENT)("C2SP/wycheproof, ECDSA P-384 with SHA-384, r and s of fixed length", async () => {
  const { numberOfTests, testGroups } = JSON.parse(readFileSync(FILE, "utf8")) as Vectors;
  const results = { valid: 0, invalid: 0 };
  for (const { publicKey, tests } of testGroups) {
    const key = await importP384Key(bytesOf(publicKey.uncompressed));
    if (key === null) throw new Error("a key of the vectors is not a point of P-384");
    for (const { tcId, comment, msg, sig, result } of tests) {
      const verified = await verifyEs384(key, bytesOf(sig), bytesOf(msg));
      expect(verified, `${tcId}: ${comment}`).toBe(result === "valid");
      results[result] += 1;
    }
  }
  expect(results.valid + results.invalid).toBe(numberOfTests);
  expect(Math.min(results.valid, results.invalid)).toBeGreaterThan(50);
});

test("a key that is not a point of the curve is none", async () => {
  expect(await importP384Key(new Uint8Array(97).with(0, 4))).toBeNull();
});

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, "hex"));
}
