import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RecordCipher, TAG_BYTES, tagOf } from "../../../enclave/vault/record-cipher.ts";
import { RequestError } from "../../../protocol/index.ts";
import { fromHex } from "../../support/wycheproof.ts";

const SECRET = Uint8Array.from({ length: 32 }, (_, at) => at);
const CONTEXT = { deployment: "test", generation: 1 } as const;
const RECORD = { name: "wallet/app_1/usr_2/wal_3", version: 7 } as const;
const PLAINTEXT = Buffer.from("twenty-two secret bytes");

const cipher = new RecordCipher(SECRET, CONTEXT);

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(RequestError);
    return (error as RequestError).code;
  }
  return undefined;
}

describe("a sealed record", () => {
  test("opens to what was sealed, whatever its name, version and content", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        fc.uint8Array({ maxLength: 2_000 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.integer({ min: 1, max: 0xffff_ffff }),
        (name, version, plaintext, secret, generation) => {
          const one = new RecordCipher(secret, { deployment: "d", generation });
          const another = new RecordCipher(secret, { deployment: "d", generation });
          const opened = another.open({ name, version }, one.seal({ name, version }, plaintext));
          expect(Buffer.compare(opened, plaintext)).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("shows its format and generation, and nothing of its content", () => {
    const sealed = cipher.seal(RECORD, PLAINTEXT);
    expect(Buffer.from(sealed.subarray(0, 5)).toString("hex")).toBe("0100000001");
    expect(sealed.length).toBe(1 + 4 + 12 + PLAINTEXT.length + TAG_BYTES);
    expect(Buffer.from(sealed).includes(PLAINTEXT.subarray(0, 8))).toBe(false);
  });

  test("is another each time", () => {
    const [one, two] = [cipher.seal(RECORD, PLAINTEXT), cipher.seal(RECORD, PLAINTEXT)];
    expect(one.subarray(5, 17)).not.toEqual(two.subarray(5, 17));
    expect(tagOf(one)).not.toEqual(tagOf(two));
  });

  test("does not hang on the caller keeping the vault secret", () => {
    const lent = Uint8Array.from(SECRET);
    const own = new RecordCipher(lent, CONTEXT);
    lent.fill(0);
    expect(Buffer.from(own.open(RECORD, cipher.seal(RECORD, PLAINTEXT)))).toEqual(PLAINTEXT);
  });
});

// Made by Python's cryptography, not by this code: HKDF-SHA-256 of bytes 0 to 31 with info "cloister/record/v1wallet/…",
// AES-256-GCM under nonce 101112131415161718191a1b. A change that cannot read it cannot read anybody's vault.
const GOLDEN =
  "0100000001101112131415161718191a1b0693eaff5719aa6c95bd4b868ebf47e144025a05d653fa10d485ef10b883f9ed0435af1fa0f6c6";

test("a record of the first format opens for ever", () => {
  expect(Buffer.from(cipher.open(RECORD, fromHex(GOLDEN))).toString("utf8")).toBe(PLAINTEXT.toString("utf8"));
});

describe("RECORD_TAMPERED", () => {
  const sealed = cipher.seal(RECORD, PLAINTEXT);

  test.each<[string, RecordCipher, { readonly name: string; readonly version: number }]>([
    ["another name", cipher, { ...RECORD, name: "wallet/app_1/usr_2/wal_4" }],
    ["a name that is a prefix", cipher, { ...RECORD, name: "wallet/app_1/usr_2/wal_" }],
    ["a version below", cipher, { ...RECORD, version: 6 }],
    ["a version above", cipher, { ...RECORD, version: 8 }],
    ["a version 2^32 above", cipher, { ...RECORD, version: 7 + 2 ** 32 }],
    ["another deployment", new RecordCipher(SECRET, { ...CONTEXT, deployment: "tesu" }), RECORD],
    ["another vault secret", new RecordCipher(SECRET.with(31, 0), CONTEXT), RECORD],
    ["another generation", new RecordCipher(SECRET, { ...CONTEXT, generation: 2 }), RECORD],
    // The length before each text keeps these two from being one.
    [
      "a deployment that took a letter from the name",
      new RecordCipher(SECRET, { ...CONTEXT, deployment: "testw" }),
      { ...RECORD, name: RECORD.name.slice(1) },
    ],
  ])("for %s", (_what, other, record) => {
    expect(codeOf(() => other.open(record, sealed))).toBe("RECORD_TAMPERED");
    expect(codeOf(() => cipher.open(RECORD, sealed))).toBeUndefined();
  });

  test("for another generation written into the record's head", () => {
    const changed = Uint8Array.from(sealed).with(4, 2);
    const second = new RecordCipher(SECRET, { ...CONTEXT, generation: 2 });
    expect(codeOf(() => second.open(RECORD, changed))).toBe("RECORD_TAMPERED");
  });

  test("for each bit of each byte", () => {
    for (let at = 0; at < sealed.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Uint8Array.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        expect(
          codeOf(() => cipher.open(RECORD, changed)),
          `byte ${at}, bit ${bit}`,
        ).toBe("RECORD_TAMPERED");
      }
    }
  });

  test("for every length but its own", () => {
    for (let length = 0; length < sealed.length; length += 1) {
      expect(codeOf(() => cipher.open(RECORD, sealed.subarray(0, length)))).toBe("RECORD_TAMPERED");
    }
    expect(codeOf(() => cipher.open(RECORD, Uint8Array.of(...sealed, 0)))).toBe("RECORD_TAMPERED");
  });

  test("in the same words whatever was wrong", () => {
    const words = [sealed.subarray(0, 3), sealed.with(0, 2), sealed.with(20, (sealed[20] ?? 0) ^ 1)].map((changed) => {
      try {
        return cipher.open(RECORD, changed).length;
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(new Set(words).size).toBe(1);
  });
});
