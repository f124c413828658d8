/** Operations of symmetric keys, each as KMS API Reference describes it. */
import { randomBytes } from "node:crypto";
import { readRecipient } from "../access.ts";
import { type EncryptionContext, keyIdOfBlob, openBlob, sealBlob } from "../ciphertext-blob.ts";
import { KmsError } from "../errors.ts";
import { type KmsInput, mustHave, validation } from "../input.ts";
import { currentMaterial, requireEnabled, type SimulatedKey, usageOf } from "../simulated-key.ts";
import {
  admit,
  base64,
  deliver,
  findKey,
  type KmsAnswer,
  mustReadKeyId,
  type NamedKey,
  type OperationCall,
  readGrantTokens,
  readKeyId,
  stopDryRun,
} from "./call.ts";

/** KMS API Reference: the largest Encrypt plaintext, the largest blob, and number of random bytes. */
const MAX_PLAINTEXT_BYTES = 4096;
const MAX_BLOB_BYTES = 6144;
const MAX_RANDOM_BYTES = 1024;
export const SYMMETRIC = "SYMMETRIC_DEFAULT";
const ALGORITHM = ["kms:EncryptionAlgorithm", SYMMETRIC] as const;

export async function generateDataKey(call: OperationCall): Promise<KmsAnswer> {
  const { key, size, encryptionContext, grantTokens, dryRun } = readDataKeyRequest(call);
  const recipientDocument = readRecipient(call.input);
  const asked = { key, encryptionContext, grantTokens, recipientDocument, more: [ALGORITHM] };
  const recipient = await admit(call, "GenerateDataKey", asked);
  requireSymmetricKey(key.key);
  stopDryRun(dryRun);
  const plaintext = randomBytes(size);
  const sealed = sealedAnswer(key.key, plaintext, encryptionContext);
  return { ...sealed, ...deliver(call, plaintext, recipient) };
}

export async function generateDataKeyWithoutPlaintext(call: OperationCall): Promise<KmsAnswer> {
  const { key, size, encryptionContext, grantTokens, dryRun } = readDataKeyRequest(call);
  const asked = { key, encryptionContext, grantTokens, more: [ALGORITHM] };
  await admit(call, "GenerateDataKeyWithoutPlaintext", asked);
  requireSymmetricKey(key.key);
  stopDryRun(dryRun);
  return sealedAnswer(key.key, randomBytes(size), encryptionContext);
}

function readDataKeyRequest(call: OperationCall) {
  const { input } = call;
  const key = findKey(call, mustReadKeyId(input));
  const spec = input.word("KeySpec", ["AES_256", "AES_128"]);
  const count = input.integer("NumberOfBytes", { min: 1, max: MAX_RANDOM_BYTES });
  if ((spec === undefined) === (count === undefined)) validation("expected either KeySpec or NumberOfBytes");
  return { key, size: count ?? (spec === "AES_256" ? 32 : 16), ...readCommon(call) };
}

function sealedAnswer(key: SimulatedKey, plaintext: Uint8Array, context: EncryptionContext): KmsAnswer {
  return {
    KeyId: key.arn,
    CiphertextBlob: base64(sealBlob(key, plaintext, context)),
    KeyMaterialId: currentMaterial(key).id,
  };
}

export async function decrypt(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const blob = readBlob(input);
  const named = readKeyId(input);
  readAlgorithm(input, "EncryptionAlgorithm");
  const { encryptionContext, grantTokens, dryRun } = readCommon(call);
  const recipientDocument = readRecipient(input);
  const key = named === undefined ? findKeyOfBlob(call, blob) : findKey(call, named);
  const asked = { key, encryptionContext, grantTokens, recipientDocument, more: [ALGORITHM] };
  const recipient = await admit(call, "Decrypt", asked);
  const { plaintext, material } = open(key.key, blob, encryptionContext);
  stopDryRun(dryRun);
  return {
    KeyId: key.key.arn,
    EncryptionAlgorithm: SYMMETRIC,
    KeyMaterialId: material.id,
    ...deliver(call, plaintext, recipient),
  };
}

export async function encrypt(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustReadKeyId(input));
  const plaintext = mustHave("Plaintext", input.blob("Plaintext", { min: 1, max: MAX_PLAINTEXT_BYTES }));
  readAlgorithm(input, "EncryptionAlgorithm");
  const { encryptionContext, grantTokens, dryRun } = readCommon(call);
  await admit(call, "Encrypt", { key, encryptionContext, grantTokens, more: [ALGORITHM] });
  requireSymmetricKey(key.key);
  stopDryRun(dryRun);
  const CiphertextBlob = base64(sealBlob(key.key, plaintext, encryptionContext));
  return { KeyId: key.key.arn, EncryptionAlgorithm: SYMMETRIC, CiphertextBlob };
}

/** Two permissions, one for each key; no recipient, so what attestation guards must deny it outright. */
export async function reEncrypt(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const blob = readBlob(input);
  const sourceName = readKeyId(input, "SourceKeyId");
  const destination = findKey(call, mustHave("DestinationKeyId", readKeyId(input, "DestinationKeyId")));
  const sourceContext = input.encryptionContext("SourceEncryptionContext");
  const destinationContext = input.encryptionContext("DestinationEncryptionContext");
  readAlgorithm(input, "SourceEncryptionAlgorithm");
  readAlgorithm(input, "DestinationEncryptionAlgorithm");
  const grantTokens = readGrantTokens(call);
  const dryRun = input.boolean("DryRun");
  const source = sourceName === undefined ? findKeyOfBlob(call, blob) : findKey(call, sourceName);
  const more = [ALGORITHM, ["kms:ReEncryptOnSameKey", String(source.key.keyId === destination.key.keyId)] as const];
  await admit(call, "ReEncryptFrom", { key: source, encryptionContext: sourceContext, grantTokens, more });
  await admit(call, "ReEncryptTo", { key: destination, encryptionContext: destinationContext, grantTokens, more });
  const { plaintext, material } = open(source.key, blob, sourceContext);
  requireSymmetricKey(destination.key);
  stopDryRun(dryRun);
  const { KeyMaterialId, ...sealed } = sealedAnswer(destination.key, plaintext, destinationContext);
  plaintext.fill(0);
  return {
    ...sealed,
    SourceKeyId: source.key.arn,
    SourceEncryptionAlgorithm: SYMMETRIC,
    DestinationEncryptionAlgorithm: SYMMETRIC,
    SourceKeyMaterialId: material.id,
    DestinationKeyMaterialId: KeyMaterialId,
  };
}

export async function generateRandom(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const count = mustHave("NumberOfBytes", input.integer("NumberOfBytes", { min: 1, max: MAX_RANDOM_BYTES }));
  const recipientDocument = readRecipient(input);
  // Of no key and so of no account: the caller's own IAM decides.
  const { accountId } = call.caller.identity;
  const recipient = await admit(call, "GenerateRandom", { key: null, accountId, recipientDocument });
  return deliver(call, randomBytes(count), recipient);
}

export function readCommon(call: OperationCall) {
  const grantTokens = readGrantTokens(call);
  return { encryptionContext: call.input.encryptionContext(), grantTokens, dryRun: call.input.boolean("DryRun") };
}

/** @throws {@link KmsError} `InvalidKeyUsageException`; `DisabledException`, `KMSInvalidStateException` */
export function requireSymmetricKey(key: SimulatedKey): void {
  requireEnabled(key);
  if (key.spec !== SYMMETRIC) {
    throw new KmsError("InvalidKeyUsageException", `${key.arn} key usage is ${usageOf(key)} which is not valid here.`);
  }
}

function open(key: SimulatedKey, blob: Uint8Array, context: EncryptionContext) {
  requireSymmetricKey(key);
  if (keyIdOfBlob(blob) !== key.keyId) {
    const words = "The key ID in the request does not identify a CMK that can perform this operation.";
    throw new KmsError("IncorrectKeyException", words);
  }
  return openBlob(key, blob, context);
}

function readBlob(input: KmsInput): Buffer {
  return mustHave("CiphertextBlob", input.blob("CiphertextBlob", { min: 1, max: MAX_BLOB_BYTES }));
}

function readAlgorithm(input: KmsInput, name: string): void {
  const algorithm = input.word(name, [SYMMETRIC, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]);
  if (algorithm === undefined || algorithm === SYMMETRIC) return;
  throw new KmsError("InvalidKeyUsageException", `the key is symmetric: expected ${SYMMETRIC}`);
}

function findKeyOfBlob(call: OperationCall, blob: Uint8Array): NamedKey {
  const keyId = keyIdOfBlob(blob);
  try {
    return findKey(call, keyId);
  } catch (cause) {
    throw new KmsError(
      "AccessDeniedException",
      "The ciphertext refers to a customer master key that does not exist, does not exist in this region, " +
        "or you are not allowed to access.",
      { cause, detail: "the blob names an unknown key" },
    );
  }
}
