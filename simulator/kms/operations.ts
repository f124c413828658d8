/** The operations that are simulated, each as KMS API Reference describes it for symmetric keys. */
import { type KeyObject, randomBytes, randomInt } from "node:crypto";
import { type AttestationTrust, checkAccess, readRecipient } from "./access.ts";
import { type EncryptionContext, keyIdOfBlob, openBlob, sealBlob } from "./ciphertext-blob.ts";
import { type EnvelopeShape, sealEnvelope } from "./enveloped-data.ts";
import { KmsError } from "./errors.ts";
import { type KmsInput, mustHave, validation } from "./input.ts";
import type { KeyStore, SimulatedKey } from "./key-store.ts";
import type { Identity } from "./principal.ts";

/** KMS API Reference: the largest Encrypt plaintext, the largest blob, key id, and number of random bytes. */
const MAX_PLAINTEXT_BYTES = 4096;
const MAX_BLOB_BYTES = 6144;
const MAX_KEY_ID_LENGTH = 2048;
const MAX_RANDOM_BYTES = 1024;
const SYMMETRIC = "SYMMETRIC_DEFAULT";

/** Members as they go out in JSON. */
export type KmsAnswer = Readonly<Record<string, unknown>>;

export interface OperationCall {
  readonly input: KmsInput;
  readonly caller: Identity;
  readonly keys: KeyStore;
  readonly accountId: string;
  readonly trust: AttestationTrust;
  readonly envelopeShape: EnvelopeShape | "random";
  readonly nowMs: number;
  /** Told as soon as it is known, so that refusals are logged with it. */
  readonly onKey: (keyArn: string) => void;
}

type Operation = (call: OperationCall) => Promise<KmsAnswer>;

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["GenerateDataKey", generateDataKey],
  ["Decrypt", decrypt],
  ["GenerateRandom", generateRandom],
  ["Encrypt", encrypt],
  ["DescribeKey", describeKey],
]);

async function generateDataKey(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustHave("KeyId", readKeyId(input)));
  const spec = input.word("KeySpec", ["AES_256", "AES_128"]);
  const count = input.integer("NumberOfBytes", { min: 1, max: MAX_RANDOM_BYTES });
  if ((spec === undefined) === (count === undefined)) validation("expected either KeySpec or NumberOfBytes");
  const asked = readCommon(input);
  const recipientDocument = readRecipient(input);
  const recipient = await admit(call, "GenerateDataKey", { key, ...asked, recipientDocument });
  const plaintext = randomBytes(count ?? (spec === "AES_256" ? 32 : 16));
  return {
    KeyId: key.arn,
    CiphertextBlob: base64(sealBlob(key, plaintext, asked.encryptionContext)),
    ...deliver(call, plaintext, recipient),
  };
}

async function decrypt(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const blob = mustHave("CiphertextBlob", input.blob("CiphertextBlob", { min: 1, max: MAX_BLOB_BYTES }));
  const named = readKeyId(input);
  requireSymmetric(input);
  const asked = readCommon(input);
  const recipientDocument = readRecipient(input);
  const key = findKey(call, named ?? keyIdOfBlob(blob), named === undefined);
  const recipient = await admit(call, "Decrypt", { key, ...asked, recipientDocument });
  if (keyIdOfBlob(blob) !== key.keyId) {
    throw new KmsError(
      "IncorrectKeyException",
      "The key ID in the request does not identify the key of this ciphertext.",
    );
  }
  const plaintext = openBlob(key, blob, asked.encryptionContext);
  return { KeyId: key.arn, EncryptionAlgorithm: SYMMETRIC, ...deliver(call, plaintext, recipient) };
}

async function generateRandom(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const count = mustHave("NumberOfBytes", input.integer("NumberOfBytes", { min: 1, max: MAX_RANDOM_BYTES }));
  const recipientDocument = readRecipient(input);
  const nothing: EncryptionContext = new Map();
  const recipient = await admit(call, "GenerateRandom", {
    key: null,
    encryptionContext: nothing,
    dryRun: false,
    recipientDocument,
  });
  return deliver(call, randomBytes(count), recipient);
}

async function encrypt(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustHave("KeyId", readKeyId(input)));
  const plaintext = mustHave("Plaintext", input.blob("Plaintext", { min: 1, max: MAX_PLAINTEXT_BYTES }));
  requireSymmetric(input);
  const asked = readCommon(input);
  await admit(call, "Encrypt", { key, ...asked, recipientDocument: null });
  return {
    KeyId: key.arn,
    EncryptionAlgorithm: SYMMETRIC,
    CiphertextBlob: base64(sealBlob(key, plaintext, asked.encryptionContext)),
  };
}

async function describeKey(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustHave("KeyId", readKeyId(input)));
  input.refuseGrantTokens();
  const encryptionContext: EncryptionContext = new Map();
  await admit(call, "DescribeKey", { key, encryptionContext, dryRun: false, recipientDocument: null });
  return {
    KeyMetadata: {
      AWSAccountId: call.accountId,
      KeyId: key.keyId,
      Arn: key.arn,
      CreationDate: key.createdMs / 1000,
      Description: "SIMULATOR - NOT AWS",
      Enabled: true,
      KeyState: "Enabled",
      KeyUsage: "ENCRYPT_DECRYPT",
      KeySpec: SYMMETRIC,
      CustomerMasterKeySpec: SYMMETRIC,
      EncryptionAlgorithms: [SYMMETRIC],
      KeyManager: "CUSTOMER",
      Origin: "AWS_KMS",
      MultiRegion: false,
    },
  };
}

interface Admission {
  readonly key: SimulatedKey | null;
  readonly encryptionContext: EncryptionContext;
  readonly dryRun: boolean;
  readonly recipientDocument: Uint8Array | null;
}

/** The last look at the request before anything secret is touched. */
async function admit(call: OperationCall, operation: string, admission: Admission): Promise<KeyObject | null> {
  const { input, caller, trust, nowMs } = call;
  input.end();
  const { key, encryptionContext, recipientDocument } = admission;
  const recipient = await checkAccess({ operation, caller, key, encryptionContext, recipientDocument, trust, nowMs });
  if (admission.dryRun) {
    throw new KmsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.");
  }
  return recipient;
}

/** Whoever sent a recipient gets nothing in the clear. */
function deliver(call: OperationCall, plaintext: Buffer, recipient: KeyObject | null): KmsAnswer {
  if (recipient === null) return { Plaintext: base64(plaintext) };
  const { envelopeShape } = call;
  const shape = envelopeShape === "random" ? (randomInt(2) === 0 ? "constructed" : "primitive") : envelopeShape;
  const envelope = sealEnvelope(recipient, plaintext, shape);
  plaintext.fill(0);
  return { Plaintext: null, CiphertextForRecipient: base64(envelope) };
}

function readKeyId(input: KmsInput): string | undefined {
  return input.string("KeyId", { min: 1, max: MAX_KEY_ID_LENGTH });
}

function readCommon(input: KmsInput): { readonly encryptionContext: EncryptionContext; readonly dryRun: boolean } {
  input.refuseGrantTokens();
  return { encryptionContext: input.encryptionContext(), dryRun: input.boolean("DryRun") };
}

function requireSymmetric(input: KmsInput): void {
  const algorithm = input.word("EncryptionAlgorithm", [SYMMETRIC, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]);
  if (algorithm !== undefined && algorithm !== SYMMETRIC) {
    throw new KmsError("InvalidKeyUsageException", `the key is symmetric: expected ${SYMMETRIC}`);
  }
}

function findKey({ keys, onKey }: OperationCall, keyId: string, fromBlob = false): SimulatedKey {
  try {
    const key = keys.find(keyId);
    onKey(key.arn);
    return key;
  } catch (cause) {
    if (!fromBlob) throw cause;
    throw new KmsError(
      "AccessDeniedException",
      "The ciphertext refers to a customer master key that does not exist, does not exist in this region, " +
        "or you are not allowed to access.",
      { cause, detail: "the blob names an unknown key" },
    );
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
