/** Signatures by keys that are for them, as KMS API Reference describes them. */
import { createHash } from "node:crypto";
import { KmsError } from "../errors.ts";
import { mustHave, validation } from "../input.ts";
import { signDigest } from "../sign-digest.ts";
import { currentMaterial, requireEnabled, signingAlgorithmOf, usageOf } from "../simulated-key.ts";
import {
  admit,
  base64,
  findKey,
  type KmsAnswer,
  mustReadKeyId,
  type OperationCall,
  readGrantTokens,
  stopDryRun,
} from "./call.ts";

/** KMS API Reference, Sign: 1 to 4096 bytes. */
const MAX_MESSAGE_BYTES = 4096;
const HASHES = { ECDSA_SHA_256: "sha256", ECDSA_SHA_384: "sha384", ECDSA_SHA_512: "sha512" } as const;
const ALGORITHMS = ["ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512"] as const;

export async function sign(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const key = findKey(call, mustReadKeyId(input));
  const message = mustHave("Message", input.blob("Message", { min: 1, max: MAX_MESSAGE_BYTES }));
  const messageType = input.word("MessageType", ["RAW", "DIGEST"]) ?? "RAW";
  const algorithm = mustHave("SigningAlgorithm", input.word("SigningAlgorithm", ALGORITHMS));
  const grantTokens = readGrantTokens(call);
  const dryRun = input.boolean("DryRun");
  const more = [
    ["kms:SigningAlgorithm", algorithm],
    ["kms:MessageType", messageType],
  ] as const;
  await admit(call, "Sign", { key, grantTokens, more });
  requireEnabled(key.key);
  if (usageOf(key.key) !== "SIGN_VERIFY" || signingAlgorithmOf(key.key.spec) !== algorithm) {
    const words = `${key.key.arn} key usage is ${usageOf(key.key)} which is not valid for Sign with ${algorithm}.`;
    throw new KmsError("InvalidKeyUsageException", words);
  }
  const hash = HASHES[algorithm];
  const digest = messageType === "RAW" ? createHash(hash).update(message).digest() : message;
  if (digest.length !== createHash(hash).digest().length) {
    validation(`Digest is invalid length for algorithm ${algorithm}.`);
  }
  stopDryRun(dryRun);
  const signature = signDigest(currentMaterial(key.key).secret, digest);
  return { KeyId: key.key.arn, Signature: base64(signature), SigningAlgorithm: algorithm };
}
