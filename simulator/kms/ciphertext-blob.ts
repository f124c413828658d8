/**
 * Ciphertext blobs. AWS's own format is private, so this one is ours:
 * `"csk1"` ‖ key id length (1 byte) ‖ key id ‖ IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16).
 * Key id and encryption context are authenticated.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { KmsError } from "./errors.ts";
import type { SimulatedKey } from "./key-store.ts";

const MAGIC = Buffer.from("csk1", "ascii");
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** In the order received; order makes no difference (KMS Developer Guide, "Encryption context"). */
export type EncryptionContext = ReadonlyMap<string, string>;

export function sealBlob(key: SimulatedKey, plaintext: Uint8Array, context: EncryptionContext): Buffer {
  const keyId = Buffer.from(key.keyId, "ascii");
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key.backingKey, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData(key, context));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat([MAGIC, Buffer.of(keyId.length), keyId, iv, sealed]);
}

/**
 * The id of the key that sealed a blob, not yet authenticated: {@link openBlob} does that.
 *
 * @throws {@link KmsError} `InvalidCiphertextException`
 */
export function keyIdOfBlob(blob: Uint8Array): string {
  return splitBlob(blob).keyId;
}

/** @throws {@link KmsError} `InvalidCiphertextException` for another key or context, or a changed blob. */
export function openBlob(key: SimulatedKey, blob: Uint8Array, context: EncryptionContext): Buffer {
  const { iv, ciphertext, tag } = splitBlob(blob);
  const decipher = createDecipheriv("aes-256-gcm", key.backingKey, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(key, context));
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch (cause) {
    throw new KmsError("InvalidCiphertextException", "", {
      cause,
      detail: "the blob or its encryption context differs",
    });
  }
}

function splitBlob(blob: Uint8Array) {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const ivAt = MAGIC.length + 1 + (bytes[MAGIC.length] ?? 0);
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC) || bytes.length < ivAt + IV_BYTES + TAG_BYTES) {
    throw new KmsError("InvalidCiphertextException", "", { detail: "not a blob of the simulated KMS" });
  }
  return {
    keyId: bytes.toString("latin1", MAGIC.length + 1, ivAt),
    iv: bytes.subarray(ivAt, ivAt + IV_BYTES),
    ciphertext: bytes.subarray(ivAt + IV_BYTES, -TAG_BYTES),
    tag: bytes.subarray(-TAG_BYTES),
  };
}

/** Each text behind its length, so that no two contexts have the same bytes. */
function associatedData(key: SimulatedKey, context: EncryptionContext): Buffer {
  const pairs = [...context].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return Buffer.concat(["cloister-simulator/kms/v1", key.arn, ...pairs.flat()].map(withLength));
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
