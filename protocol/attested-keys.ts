/** What an enclave puts into the attestation document that it gives to callers (design section 6). */
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { bytesOf, z } from "./zod.ts";

const KEY_BYTES = 32;

export interface AttestedKeys {
  /** Ed25519, RFC 8032: signs every answer of this boot. */
  readonly answerKey: Uint8Array;
  /** X25519, RFC 7748: receives sealed requests. */
  readonly sealingKey: Uint8Array;
}

/** The document's `public_key`. */
export function encodeAttestedKeys(keys: AttestedKeys): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2 * KEY_BYTES);
  bytes.set(keys.answerKey, 0);
  bytes.set(keys.sealingKey, KEY_BYTES);
  return bytes;
}

/** @throws {@link ProtocolError} `MALFORMED_ATTESTED_KEYS` */
export function decodeAttestedKeys(bytes: Uint8Array): AttestedKeys {
  if (bytes.length !== 2 * KEY_BYTES) {
    throw new ProtocolError(
      "MALFORMED_ATTESTED_KEYS",
      `public_key of ${bytes.length} bytes, expected ${2 * KEY_BYTES}`,
    );
  }
  return { answerKey: bytes.subarray(0, KEY_BYTES), sealingKey: bytes.subarray(KEY_BYTES) };
}

/** SHA-256 of the manifest file; and which vault is open, null while none is: a new one in an old one's place shows here. */
const boot = { v: z.literal(1), manifest: bytesOf(32), vault: z.nullable(bytesOf(16)) };

/** Whose secret a key receives, once, and until when. */
const attestedImport = z.strictObject({
  audience: z.string(),
  userId: z.string(),
  importId: z.string(),
  /** By the enclave's clock. */
  deadlineMs: z.int(),
});
export type AttestedImport = z.output<typeof attestedImport>;

/**
 * Documents for KMS, for callers and for imports come from the same NSM under the same chain; the purpose keeps one from
 * being shown where another is wanted.
 */
const userData = z.discriminatedUnion("purpose", [
  z.strictObject({ ...boot, purpose: z.enum(["cloister/callers/v1", "cloister/kms-recipient/v1"]) }),
  z.strictObject({ ...boot, purpose: z.literal("cloister/import/v1"), import: attestedImport }),
]);

export type AttestedUserData = z.output<typeof userData>;

/** The document's `user_data`. */
export function encodeAttestedUserData(data: AttestedUserData): Uint8Array<ArrayBuffer> {
  const { v, purpose, manifest, vault } = data;
  if (data.purpose !== "cloister/import/v1") return encodeCbor({ v, purpose, manifest, vault });
  const { audience, userId, importId, deadlineMs } = data.import;
  return encodeCbor({ v, purpose, manifest, vault, import: { audience, userId, importId, deadlineMs } });
}

/** @throws {@link ProtocolError} `MALFORMED_MESSAGE` */
export function decodeAttestedUserData(bytes: Uint8Array): AttestedUserData {
  return decodeCbor(userData, bytes);
}
