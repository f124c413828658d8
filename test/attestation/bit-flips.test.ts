import { describe, expect, test, vi } from "vitest";
import { AttestationError, decodeUnverified, verifyAttestation } from "../../attestation/index.ts";
import { GENUINE, ownTime, VECTORS_ABSENT } from "./genuine.ts";

/**
 * Every bit of every byte is flipped. What the first three steps refuse costs nothing; of the others, which cost a
 * signature check each, one bit of each byte is tried, or all eight where CLOISTER_ALL_FLIPS is set (some minutes).
 *
 * No flip may leave a document valid: every byte is under a signature, or compared with the pinned root, or part of an
 * encoding that has one form only.
 */
const ALL_FLIPS = process.env["CLOISTER_ALL_FLIPS"] !== undefined;
const TIMEOUT_MS = ALL_FLIPS ? 900_000 : 180_000;
const AT_ONCE = 64;

describe.skipIf(VECTORS_ABSENT)("one bit flipped", () => {
  test.each(GENUINE)("$name", { timeout: TIMEOUT_MS }, async (genuine) => {
    const bytes = genuine.read();
    const expected = ownTime(genuine);
    const memory = rememberSignatures();
    try {
      await expect(verifyAttestation(bytes, expected)).resolves.toBeDefined();
      memory.stopLearning();

      const codes = new Map<string, number>();
      const count = (code: string) => codes.set(code, (codes.get(code) ?? 0) + 1);
      const verifying: Promise<void>[] = [];
      for (const at of bytes.keys()) {
        for (let bit = 0; bit < 8; bit += 1) {
          const flipped = bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit));
          const early = refusalOfDecoding(flipped);
          if (early !== null) count(early.code);
          if (early !== null || !(ALL_FLIPS || bit === at % 8)) continue;
          verifying.push(
            verifyAttestation(flipped, expected).then(
              () => expect.fail(`verifies with bit ${bit} of byte ${at} flipped`),
              (error: unknown) => {
                if (!(error instanceof AttestationError)) throw error;
                count(error.code);
              },
            ),
          );
          if (verifying.length === AT_ONCE) await Promise.all(verifying.splice(0));
        }
      }
      await Promise.all(verifying);

      // The flips reached every stage: encoding, headers, fields, root, path, and the document's own signature.
      const stages = ["CBOR_TRUNCATED", "ALGORITHM_NOT_ALLOWED", "FIELD_MISSING", "ROOT_NOT_TRUSTED"];
      for (const code of [...stages, "ISSUER_MISMATCH", "CERTIFICATE_SIGNATURE_INVALID", "SIGNATURE_INVALID"]) {
        expect(codes.get(code)).toBeGreaterThan(0);
      }
      expect(memory.checkedAnew()).toBeGreaterThan(bytes.length / 2);
    } finally {
      memory.forget();
    }
  });
});

function refusalOfDecoding(bytes: Uint8Array): AttestationError | null {
  try {
    decodeUnverified(bytes);
    return null;
  } catch (error) {
    if (error instanceof AttestationError) return error;
    throw error;
  }
}

/**
 * A flip leaves most of the five signatures as they were. Those of the whole document are checked once and remembered,
 * by key, signature and message; anything else is checked anew.
 */
function rememberSignatures() {
  const { importKey, verify } = crypto.subtle;
  const points = new WeakMap<CryptoKey, string>();
  const known = new Map<string, boolean>();
  let learning = true;
  let checked = 0;
  const text = (source: BufferSource) => Buffer.from(source as Uint8Array).toString("latin1");
  vi.spyOn(crypto.subtle, "importKey").mockImplementation(async (...call: unknown[]) => {
    const key = await (Reflect.apply(importKey, crypto.subtle, call) as Promise<CryptoKey>);
    points.set(key, text(call[1] as BufferSource));
    return key;
  });
  vi.spyOn(crypto.subtle, "verify").mockImplementation(async (algorithm, key, signature, message) => {
    const what = JSON.stringify([points.get(key), text(signature), text(message)]);
    const remembered = known.get(what);
    if (remembered !== undefined) return remembered;
    checked += 1;
    const result = await Reflect.apply(verify, crypto.subtle, [algorithm, key, signature, message]);
    if (learning) known.set(what, result);
    return result;
  });
  return {
    stopLearning() {
      learning = false;
      checked = 0;
    },
    checkedAnew: () => checked,
    forget: () => vi.restoreAllMocks(),
  };
}
