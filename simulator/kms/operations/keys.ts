/** The life of a key, each operation as KMS API Reference describes it. */
import { KmsError } from "../errors.ts";
import { type KmsInput, mustHave, validation } from "../input.ts";
import {
  algorithmsOf,
  currentMaterial,
  isMultiRegion,
  KEY_SPECS,
  KEY_USAGES,
  type KeySpec,
  type KeyUsage,
  requireNotPendingDeletion,
  type SimulatedKey,
  usageOf,
} from "../simulated-key.ts";
import {
  admit,
  findKey,
  findManagedKey,
  type KmsAnswer,
  mustReadKeyId,
  type OperationCall,
  readGrantTokens,
  readPage,
  seconds,
} from "./call.ts";
import { defaultKeyPolicy, MAX_POLICY_LENGTH, refuseLockout } from "./policies.ts";
import { checkTags, readTags, tagConditionKeys } from "./tags.ts";

const DAY_MS = 86_400_000;
const MAX_DESCRIPTION_LENGTH = 8192;

export async function createKey(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys, nowMs, accountId } = call;
  const policy = input.string("Policy", { min: 1, max: MAX_POLICY_LENGTH }) ?? defaultKeyPolicy(accountId);
  const description = input.string("Description", { min: 0, max: MAX_DESCRIPTION_LENGTH }) ?? "";
  const { spec, usage } = readSpec(input);
  const origin = input.string("Origin", { min: 1, max: 64 }) ?? "AWS_KMS";
  if (origin !== "AWS_KMS" || input.has("CustomKeyStoreId") || input.has("XksKeyId")) {
    throw new KmsError("UnsupportedOperationException", "the simulated KMS has keys of Origin AWS_KMS only");
  }
  const multiRegion = input.boolean("MultiRegion");
  const bypass = input.boolean("BypassPolicyLockoutSafetyCheck");
  const tags = readTags(input);
  const more = [
    ["kms:KeySpec", spec],
    ["kms:KeyUsage", usage],
    ["kms:KeyOrigin", origin],
    ["kms:MultiRegion", String(multiRegion)],
    ...(multiRegion ? [["kms:MultiRegionKeyType", "PRIMARY"] as const] : []),
    ["kms:BypassPolicyLockoutSafetyCheck", String(bypass)],
    ...tagConditionKeys(tags),
  ] as const;
  await admit(call, "CreateKey", { key: null, more });
  if (tags.size > 0) await admit(call, "TagResource", { key: null, more });
  checkTags(tags);
  if (!bypass) refuseLockout(call, { policy, key: null });
  const key = keys.create({ policy, nowMs, spec, usage, multiRegion, description, tags });
  call.onKey(key.arn);
  return { KeyMetadata: metadataOf(call, key) };
}

function readSpec(input: KmsInput): { readonly spec: KeySpec; readonly usage: KeyUsage } {
  const older = input.string("CustomerMasterKeySpec", { min: 1, max: 64 });
  const name = input.string("KeySpec", { min: 1, max: 64 }) ?? older ?? "SYMMETRIC_DEFAULT";
  const spec = KEY_SPECS.find((one) => one === name);
  const asked = input.string("KeyUsage", { min: 1, max: 64 }) ?? "ENCRYPT_DECRYPT";
  const usage = KEY_USAGES.find((one) => one === asked);
  const fits = (spec === "SYMMETRIC_DEFAULT") === (usage === "ENCRYPT_DECRYPT");
  if (spec === undefined || usage === undefined || !fits) {
    const words =
      "expected KeySpec SYMMETRIC_DEFAULT, or ECC_NIST_P256, P384 or P521 with KeyUsage KEY_AGREEMENT or SIGN_VERIFY";
    throw new KmsError("UnsupportedOperationException", `the simulated KMS has no such keys: ${words}`);
  }
  return { spec, usage };
}

export async function describeKey(call: OperationCall): Promise<KmsAnswer> {
  const key = findKey(call, mustReadKeyId(call.input));
  await admit(call, "DescribeKey", { key, grantTokens: readGrantTokens(call) });
  return { KeyMetadata: metadataOf(call, key.key) };
}

export async function listKeys(call: OperationCall): Promise<KmsAnswer> {
  const paged = readPage<SimulatedKey>(call.input, 100);
  await admit(call, "ListKeys", { key: null });
  const { page, more } = paged(call.keys.keys, ({ keyId }) => keyId);
  return { Keys: page.map(({ keyId, arn }) => ({ KeyId: keyId, KeyArn: arn })), ...more };
}

export async function enableKey(call: OperationCall): Promise<KmsAnswer> {
  const key = await admitManaged(call, "EnableKey");
  requireNotPendingDeletion(key);
  call.keys.update({ ...key, state: { name: "Enabled" } });
  return {};
}

export async function disableKey(call: OperationCall): Promise<KmsAnswer> {
  const key = await admitManaged(call, "DisableKey");
  requireNotPendingDeletion(key);
  call.keys.update({ ...key, state: { name: "Disabled" } });
  return {};
}

export async function updateKeyDescription(call: OperationCall): Promise<KmsAnswer> {
  const description = call.input.string("Description", { min: 0, max: MAX_DESCRIPTION_LENGTH });
  const key = await admitManaged(call, "UpdateKeyDescription");
  requireNotPendingDeletion(key);
  call.keys.update({ ...key, description: mustHave("Description", description) });
  return {};
}

export async function scheduleKeyDeletion(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys, nowMs } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  const asked = input.integer("PendingWindowInDays", { min: 1, max: 365 });
  if (asked !== undefined && (asked < 7 || asked > 30)) validation("PendingWindowInDays: expected 7 to 30");
  const days = asked ?? 30;
  const more = asked === undefined ? [] : [["kms:ScheduleKeyDeletionPendingWindowInDays", String(asked)] as const];
  await admit(call, "ScheduleKeyDeletion", { key: named, more });
  requireNotPendingDeletion(named.key);
  const deletionMs = nowMs + days * DAY_MS;
  keys.update({ ...named.key, state: { name: "PendingDeletion", deletionMs } });
  return {
    KeyId: named.key.arn,
    DeletionDate: seconds(deletionMs),
    KeyState: "PendingDeletion",
    PendingWindowInDays: days,
  };
}

export async function cancelKeyDeletion(call: OperationCall): Promise<KmsAnswer> {
  const key = await admitManaged(call, "CancelKeyDeletion");
  if (key.state.name !== "PendingDeletion") {
    throw new KmsError("KMSInvalidStateException", `${key.arn} is not pending deletion.`);
  }
  call.keys.update({ ...key, state: { name: "Disabled" } });
  return { KeyId: key.arn };
}

/** For an operation that is about one key and nothing else. */
async function admitManaged(call: OperationCall, operation: string): Promise<SimulatedKey> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  await admit(call, operation, { key: named });
  return named.key;
}

function metadataOf({ accountId, keys }: OperationCall, key: SimulatedKey): KmsAnswer {
  const { state, spec } = key;
  const symmetric = spec === "SYMMETRIC_DEFAULT";
  return {
    AWSAccountId: accountId,
    KeyId: key.keyId,
    Arn: key.arn,
    CreationDate: seconds(key.createdMs),
    Description: key.description,
    Enabled: state.name === "Enabled",
    KeyState: state.name,
    ...(state.name === "PendingDeletion" ? { DeletionDate: seconds(state.deletionMs) } : {}),
    KeyUsage: usageOf(key),
    KeySpec: spec,
    CustomerMasterKeySpec: spec,
    ...(symmetric ? { EncryptionAlgorithms: [spec] } : algorithmsOf(key)),
    ...(symmetric ? { CurrentKeyMaterialId: currentMaterial(key).id } : {}),
    KeyManager: "CUSTOMER",
    Origin: "AWS_KMS",
    MultiRegion: isMultiRegion(key),
    ...(isMultiRegion(key)
      ? {
          MultiRegionConfiguration: {
            MultiRegionKeyType: "PRIMARY",
            PrimaryKey: { Arn: key.arn, Region: keys.region },
            ReplicaKeys: [],
          },
        }
      : {}),
  };
}
