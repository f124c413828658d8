/** Data key pairs, and shared secrets from keys for key agreement. */
import { createPublicKey, diffieHellman, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { readRecipient } from "../access.ts";
import { sealBlob } from "../ciphertext-blob.ts";
import { KmsError } from "../errors.ts";
import { mustHave, validation } from "../input.ts";
import { algorithmsOf, currentMaterial, requireEnabled, type SimulatedKey, usageOf } from "../simulated-key.ts";
import {
  admit,
  base64,
  deliver,
  findKey,
  type KmsAnswer,
  mustReadKeyId,
  type OperationCall,
  readGrantTokens,
  stopDryRun,
} from "./call.ts";
import { readCommon, requireSymmetricKey, SYMMETRIC } from "./encryption.ts";

/** KMS API Reference, GenerateDataKeyPair. SM2 is for China only, ML-KEM has no RFC 5958 form in this Node. */
const PAIR_SPECS = [
  "RSA_2048",
  "RSA_3072",
  "RSA_4096",
  "ECC_NIST_P256",
  "ECC_NIST_P384",
  "ECC_NIST_P521",
  "ECC_SECG_P256K1",
  "ECC_NIST_EDWARDS25519",
] as const;
type PairSpec = (typeof PAIR_SPECS)[number];

/** KMS API Reference, DeriveSharedSecret: the public key has 1 to 8192 bytes. */
const MAX_PUBLIC_KEY_BYTES = 8192;

const makeKeyPair = promisify(generateKeyPair);

export async function generateDataKeyPair(call: OperationCall): Promise<KmsAnswer> {
  const { key, spec, encryptionContext, grantTokens, dryRun, more } = readPairRequest(call);
  const recipientDocument = readRecipient(call.input);
  const asked = { key, encryptionContext, grantTokens, recipientDocument, more };
  const recipient = await admit(call, "GenerateDataKeyPair", asked);
  requireSymmetricKey(key.key);
  stopDryRun(dryRun);
  const { pkcs8, answer } = await makePair(key.key, spec, encryptionContext);
  return { ...answer, ...deliver(call, pkcs8, recipient, "PrivateKeyPlaintext") };
}

export async function generateDataKeyPairWithoutPlaintext(call: OperationCall): Promise<KmsAnswer> {
  const { key, spec, encryptionContext, grantTokens, dryRun, more } = readPairRequest(call);
  await admit(call, "GenerateDataKeyPairWithoutPlaintext", { key, encryptionContext, grantTokens, more });
  requireSymmetricKey(key.key);
  stopDryRun(dryRun);
  const { pkcs8, answer } = await makePair(key.key, spec, encryptionContext);
  pkcs8.fill(0);
  return answer;
}

function readPairRequest(call: OperationCall) {
  const key = findKey(call, mustReadKeyId(call.input));
  const spec = mustHave("KeyPairSpec", call.input.word("KeyPairSpec", PAIR_SPECS));
  const more = [
    ["kms:DataKeyPairSpec", spec],
    ["kms:EncryptionAlgorithm", SYMMETRIC],
  ] as const;
  return { key, spec, more, ...readCommon(call) };
}

async function makePair(key: SimulatedKey, spec: PairSpec, context: ReadonlyMap<string, string>) {
  const { publicKey, privateKey } = await pairOf(spec);
  const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
  const answer = {
    KeyId: key.arn,
    KeyPairSpec: spec,
    PublicKey: base64(publicKey.export({ type: "spki", format: "der" })),
    PrivateKeyCiphertextBlob: base64(sealBlob(key, pkcs8, context)),
    KeyMaterialId: currentMaterial(key).id,
  };
  return { pkcs8, answer };
}

function pairOf(spec: PairSpec): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
  switch (spec) {
    case "RSA_2048":
    case "RSA_3072":
    case "RSA_4096":
      return makeKeyPair("rsa", { modulusLength: Number(spec.slice("RSA_".length)) });
    case "ECC_NIST_P256":
    case "ECC_NIST_P384":
    case "ECC_NIST_P521":
      return makeKeyPair("ec", { namedCurve: spec.replace("ECC_NIST_P", "P-") });
    case "ECC_SECG_P256K1":
      return makeKeyPair("ec", { namedCurve: "secp256k1" });
    case "ECC_NIST_EDWARDS25519":
      return makeKeyPair("ed25519", {});
  }
}

export async function deriveSharedSecret(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustReadKeyId(input));
  const algorithm = mustHave("KeyAgreementAlgorithm", input.word("KeyAgreementAlgorithm", ["ECDH"]));
  const publicKeyDer = mustHave("PublicKey", input.blob("PublicKey", { min: 1, max: MAX_PUBLIC_KEY_BYTES }));
  const grantTokens = readGrantTokens(call);
  const dryRun = input.boolean("DryRun");
  const recipientDocument = readRecipient(input);
  const more = [["kms:KeyAgreementAlgorithm", algorithm] as const];
  const recipient = await admit(call, "DeriveSharedSecret", { key, grantTokens, recipientDocument, more });
  requireEnabled(key.key);
  if (usageOf(key.key) !== "KEY_AGREEMENT") {
    const words = `${key.key.arn} key usage is ${usageOf(key.key)} which is not valid for DeriveSharedSecret.`;
    throw new KmsError("InvalidKeyUsageException", words);
  }
  const privateKey = currentMaterial(key.key).secret;
  const publicKey = peerKeyOf(publicKeyDer, privateKey);
  stopDryRun(dryRun);
  return {
    KeyId: key.key.arn,
    KeyAgreementAlgorithm: algorithm,
    KeyOrigin: "AWS_KMS",
    ...deliver(call, diffieHellman({ privateKey, publicKey }), recipient, "SharedSecret"),
  };
}

function peerKeyOf(der: Buffer, own: KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: der, format: "der", type: "spki" });
  } catch {
    return validation("PublicKey: expected SubjectPublicKeyInfo in DER");
  }
  const curve = own.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== curve) {
    validation(`PublicKey: expected a point on the key's own curve, ${curve}`);
  }
  return key;
}

export async function getPublicKey(call: OperationCall): Promise<KmsAnswer> {
  const key = findKey(call, mustReadKeyId(call.input));
  await admit(call, "GetPublicKey", { key, grantTokens: readGrantTokens(call) });
  requireEnabled(key.key);
  if (usageOf(key.key) === "ENCRYPT_DECRYPT") {
    throw new KmsError("UnsupportedOperationException", `${key.key.arn} is symmetric and has no public key.`);
  }
  const publicKey = createPublicKey(currentMaterial(key.key).secret);
  return {
    KeyId: key.key.arn,
    KeySpec: key.key.spec,
    CustomerMasterKeySpec: key.key.spec,
    KeyUsage: usageOf(key.key),
    ...algorithmsOf(key.key),
    PublicKey: base64(publicKey.export({ type: "spki", format: "der" })),
  };
}
