/** The operations that are simulated. What KMS has besides gets `UnknownOperationException`. */
import * as aliases from "./operations/aliases.ts";
import type { Operation } from "./operations/call.ts";
import * as encryption from "./operations/encryption.ts";
import * as grants from "./operations/grants.ts";
import * as keyPairs from "./operations/key-pairs.ts";
import * as keys from "./operations/keys.ts";
import * as policies from "./operations/policies.ts";
import * as rotation from "./operations/rotation.ts";
import * as signing from "./operations/signing.ts";
import * as tags from "./operations/tags.ts";

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["CancelKeyDeletion", keys.cancelKeyDeletion],
  ["CreateAlias", aliases.createAlias],
  ["CreateGrant", grants.createGrant],
  ["CreateKey", keys.createKey],
  ["Decrypt", encryption.decrypt],
  ["DeleteAlias", aliases.deleteAlias],
  ["DeriveSharedSecret", keyPairs.deriveSharedSecret],
  ["DescribeKey", keys.describeKey],
  ["DisableKey", keys.disableKey],
  ["DisableKeyRotation", rotation.disableKeyRotation],
  ["EnableKey", keys.enableKey],
  ["EnableKeyRotation", rotation.enableKeyRotation],
  ["Encrypt", encryption.encrypt],
  ["GenerateDataKey", encryption.generateDataKey],
  ["GenerateDataKeyPair", keyPairs.generateDataKeyPair],
  ["GenerateDataKeyPairWithoutPlaintext", keyPairs.generateDataKeyPairWithoutPlaintext],
  ["GenerateDataKeyWithoutPlaintext", encryption.generateDataKeyWithoutPlaintext],
  ["GenerateRandom", encryption.generateRandom],
  ["GetKeyPolicy", policies.getKeyPolicy],
  ["GetKeyRotationStatus", rotation.getKeyRotationStatus],
  ["GetPublicKey", keyPairs.getPublicKey],
  ["ListAliases", aliases.listAliases],
  ["ListGrants", grants.listGrants],
  ["ListKeyPolicies", policies.listKeyPolicies],
  ["ListKeyRotations", rotation.listKeyRotations],
  ["ListKeys", keys.listKeys],
  ["ListResourceTags", tags.listResourceTags],
  ["ListRetirableGrants", grants.listRetirableGrants],
  ["PutKeyPolicy", policies.putKeyPolicy],
  ["ReEncrypt", encryption.reEncrypt],
  ["RetireGrant", grants.retireGrant],
  ["RevokeGrant", grants.revokeGrant],
  ["RotateKeyOnDemand", rotation.rotateKeyOnDemand],
  ["ScheduleKeyDeletion", keys.scheduleKeyDeletion],
  ["Sign", signing.sign],
  ["TagResource", tags.tagResource],
  ["UntagResource", tags.untagResource],
  ["UpdateAlias", aliases.updateAlias],
  ["UpdateKeyDescription", keys.updateKeyDescription],
]);
