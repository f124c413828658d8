import { createHash } from "node:crypto";
import { decode, encode } from "cborg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CborValue, decodeCbor } from "../../attestation/cbor.ts";
import { decodeCertificate } from "../../attestation/certificate.ts";
import { AttestationError, decodeUnverified, extendPcr, pcrOfParts } from "../../attestation/index.ts";
import { createNsmPki } from "../../simulator/nsm/index.ts";
import { forge } from "./forge.ts";

const NOW_MS = 1_800_000_000_000;

/** What documents may hold: keys are integers or text, values nest. */
const value = fc.letrec<{ item: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) - 1n }),
    fc.string({ unit: "binary" }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(true, false, null),
  ),
  item: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    tie("leaf"),
    fc.array(tie("item"), { maxLength: 5 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(fc.integer(), fc.string(), fc.constant("__proto__")), tie("item")), {
        selector: ([key]) => key,
        maxLength: 5,
      })
      .map((entries) => new Map(entries)),
  ),
})).item;

describe("CBOR", () => {
  test("decodes what another encoder writes", () => {
    fc.assert(
      fc.property(value, (item) => {
        expect(decodeCbor(own(encode(item, { mapSorter: () => 0 })))).toEqual(item);
      }),
      { numRuns: 500 },
    );
  });

  test("refuses every prefix and every addition", () => {
    fc.assert(
      fc.property(value, fc.nat(), (item, cut) => {
        const bytes = own(encode(item));
        expect(codeOf(() => decodeCbor(bytes.subarray(0, cut % bytes.length)))).toMatch(/^CBOR_/);
        expect(codeOf(() => decodeCbor(own(Uint8Array.of(...bytes, 0))))).toBe("CBOR_TRAILING_BYTES");
      }),
      { numRuns: 300 },
    );
  });

  test("takes of any bytes only what another strict decoder takes, with the same meaning", () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const ours = attempt(() => decodeCbor(own(bytes)));
        if (ours === undefined) return;
        taken += 1;
        expect(ours).toEqual(decode(bytes, { strict: true, useMaps: true, rejectDuplicateMapKeys: true }));
      }),
      { numRuns: 5000 },
    );
    expect(taken).toBeGreaterThan(50);
  });

  test("one value, one encoding: what is accepted encodes back to the same bytes, indefinite maps apart", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 10 }), (bytes) => {
        const ours = attempt(() => decodeCbor(own(bytes)));
        if (ours === undefined || bytes.includes(0xbf)) return;
        expect(encode(ours, { mapSorter: () => 0 })).toEqual(own(bytes));
      }),
      { numRuns: 5000 },
    );
  });
});

describe("documents and certificates", () => {
  const { bytes } = forge();
  const { certificate } = createNsmPki({ nowMs: () => NOW_MS }).leafFor("i-0123456789abcdef0-enc0123456789abcdef");
  const change = fc.record({ at: fc.nat(), put: fc.uint8Array({ maxLength: 4 }), drop: fc.nat({ max: 4 }) });

  test("however a document is changed, nothing is thrown but AttestationError", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        attempt(() => decodeUnverified(changes.reduce(changed, own(bytes))));
      }),
      { numRuns: 3000 },
    );
  });

  test("however a certificate is changed, nothing is thrown but AttestationError", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        attempt(() => decodeCertificate(changes.reduce(changed, own(certificate))));
      }),
      { numRuns: 3000 },
    );
  });

  function changed(into: Uint8Array<ArrayBuffer>, { at, put, drop }: { at: number; put: Uint8Array; drop: number }) {
    const from = at % into.length;
    return own(Uint8Array.of(...into.subarray(0, from), ...put, ...into.subarray(from + drop)));
  }
});

describe("PCRs", () => {
  test("agree with another SHA-384", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 48, maxLength: 48 }),
        fc.array(fc.uint8Array(), { maxLength: 4 }),
        async (old, parts) => {
          const sha384 = (...all: readonly Uint8Array[]) =>
            new Uint8Array(all.reduce((hash, part) => hash.update(part), createHash("sha384")).digest());
          for (const part of parts) expect(await extendPcr(old, part)).toEqual(sha384(old, part));
          expect(await pcrOfParts(parts)).toEqual(sha384(new Uint8Array(48), sha384(...parts)));
        },
      ),
      { numRuns: 100 },
    );
  });
});

function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** Undefined for what is refused as it should be. */
function attempt<T extends CborValue | object>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof AttestationError) return undefined;
    throw error;
  }
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    if (error instanceof AttestationError) return error.code;
    throw error;
  }
}
