/**
 * Ciphertext blobs. AWS's own format is private, so this one is ours:
 * `"csk2"` ‖ key id length (1 byte) ‖ key id ‖ material id (32) ‖ IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16).
 * Key id and encryption context are authenticated. `"csk1"`, from before rotation, has no material id: the key's first
 * material made it.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { KmsError } from "./errors.ts";
import { currentMaterial, isMultiRegion, type KeyMaterial, type SimulatedKey } from "./simulated-key.ts";

const MAGIC = "csk2";
const OLD_MAGIC = "csk1";
const MAGIC_BYTES = 4;
const MATERIAL_ID_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** In the order received; order makes no difference (KMS Developer Guide, "Encryption context"). */
export type EncryptionContext = ReadonlyMap<string, string>;

export function sealBlob(key: SimulatedKey, plaintext: Uint8Array, context: EncryptionContext): Buffer {
  const keyId = Buffer.from(key.keyId, "ascii");
  const { id, secret } = currentMaterial(key);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", secret, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(associatedData(key, context));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  const head = [Buffer.from(MAGIC, "ascii"), Buffer.of(keyId.length), keyId, Buffer.from(id, "hex")];
  return Buffer.concat([...head, iv, sealed]);
}

/**
 * The id of the key that sealed a blob, not yet authenticated: {@link openBlob} does that.
 *
 * @throws {@link KmsError} `InvalidCiphertextException`
 */
export function keyIdOfBlob(blob: Uint8Array): string {
  return splitBlob(blob).keyId;
}

export interface OpenedBlob {
  readonly plaintext: Buffer;
  readonly material: KeyMaterial;
}

/** @throws {@link KmsError} `InvalidCiphertextException` for another key or context, or a changed blob. */
export function openBlob(key: SimulatedKey, blob: Uint8Array, context: EncryptionContext): OpenedBlob {
  const { materialId, iv, ciphertext, tag } = splitBlob(blob);
  const material = materialId === null ? key.materials[0] : key.materials.find(({ id }) => id === materialId);
  if (material === undefined) throw invalid("the blob names material that the key does not have");
  const decipher = createDecipheriv("aes-256-gcm", material.secret, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(key, context));
  decipher.setAuthTag(tag);
  try {
    return { plaintext: Buffer.concat([decipher.update(ciphertext), decipher.final()]), material };
  } catch (cause) {
    throw invalid("the blob or its encryption context differs", cause);
  }
}

function splitBlob(blob: Uint8Array) {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const magic = bytes.toString("latin1", 0, MAGIC_BYTES);
  const materialAt = MAGIC_BYTES + 1 + (bytes[MAGIC_BYTES] ?? 0);
  const ivAt = materialAt + (magic === OLD_MAGIC ? 0 : MATERIAL_ID_BYTES);
  if ((magic !== MAGIC && magic !== OLD_MAGIC) || bytes.length < ivAt + IV_BYTES + TAG_BYTES) {
    throw invalid("not a blob of the simulated KMS");
  }
  return {
    keyId: bytes.toString("latin1", MAGIC_BYTES + 1, materialAt),
    materialId: magic === OLD_MAGIC ? null : bytes.toString("hex", materialAt, ivAt),
    iv: bytes.subarray(ivAt, ivAt + IV_BYTES),
    ciphertext: bytes.subarray(ivAt + IV_BYTES, -TAG_BYTES),
    tag: bytes.subarray(-TAG_BYTES),
  };
}

function invalid(detail: string, cause?: unknown): KmsError {
  return new KmsError("InvalidCiphertextException", "", { cause, detail });
}

/** Each text behind its length, so that no two contexts have the same bytes. A multi-region key has no one ARN. */
function associatedData(key: SimulatedKey, context: EncryptionContext): Buffer {
  const pairs = [...context].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const name = isMultiRegion(key) ? key.keyId : key.arn;
  return Buffer.concat(["cloister-simulator/kms/v1", name, ...pairs.flat()].map(withLength));
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
