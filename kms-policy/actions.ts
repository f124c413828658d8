/** What the actions of KMS mean for a key that only an enclave may use (AWS, "Actions, resources, and condition keys for KMS"). */

/** All that the enclave calls, always with `Recipient`. */
export const USE_ACTIONS = ["kms:Decrypt", "kms:GenerateDataKey"] as const;

/** What takes a `Recipient` and could so be attested, but is never called. */
const OTHER_RECIPIENT_ACTIONS = ["kms:DeriveSharedSecret", "kms:GenerateDataKeyPair"] as const;

/** The actions that can carry an attestation document for a key (nitro.md 4.1): in all others its keys are absent. */
export const ATTESTABLE_ACTIONS: ReadonlySet<string> = new Set([...USE_ACTIONS, ...OTHER_RECIPIENT_ACTIONS]);

/** Every way round attestation, and every use that nobody needs: denied to everybody, break-glass role included. */
export const FORBIDDEN_ACTIONS = [
  "kms:CreateGrant",
  "kms:Decapsulate",
  "kms:DeleteImportedKeyMaterial",
  "kms:DeriveSharedSecret",
  "kms:Encapsulate",
  "kms:Encrypt",
  "kms:GenerateDataKeyPair",
  "kms:GenerateDataKeyPairWithoutPlaintext",
  "kms:GenerateDataKeyWithoutPlaintext",
  "kms:GenerateMac",
  "kms:GetParametersForImport",
  "kms:ImportKeyMaterial",
  "kms:ReEncryptFrom",
  "kms:ReEncryptTo",
  "kms:ReplicateKey",
  "kms:Sign",
  "kms:SynchronizeMultiRegionKey",
  "kms:UpdatePrimaryRegion",
  "kms:Verify",
  "kms:VerifyMac",
] as const;

/** What changes, stops or destroys the key: the break-glass role's. */
export const MANAGEMENT_ACTIONS = [
  "kms:CancelKeyDeletion",
  "kms:CreateAlias",
  "kms:DeleteAlias",
  "kms:DisableKey",
  "kms:DisableKeyRotation",
  "kms:EnableKey",
  "kms:EnableKeyRotation",
  "kms:PutKeyPolicy",
  "kms:RetireGrant",
  "kms:RevokeGrant",
  "kms:RotateKeyOnDemand",
  "kms:ScheduleKeyDeletion",
  "kms:UpdateAlias",
  "kms:UpdateKeyDescription",
] as const;

export const DESCRIPTION_ACTIONS = [
  "kms:DescribeKey",
  "kms:GetKeyLastUsage",
  "kms:GetKeyPolicy",
  "kms:GetKeyRotationStatus",
  "kms:GetPublicKey",
  "kms:ListGrants",
  "kms:ListKeyPolicies",
  "kms:ListKeyRotations",
  "kms:ListResourceTags",
] as const;

export const TAGGING_ACTIONS = ["kms:TagResource", "kms:UntagResource"] as const;

/** No key policy decides these: they name no key. */
export const KEYLESS_ACTIONS = [
  "kms:ConnectCustomKeyStore",
  "kms:CreateCustomKeyStore",
  "kms:CreateKey",
  "kms:DeleteCustomKeyStore",
  "kms:DescribeCustomKeyStores",
  "kms:DisconnectCustomKeyStore",
  "kms:GenerateRandom",
  "kms:ListAliases",
  "kms:ListKeys",
  "kms:ListRetirableGrants",
  "kms:UpdateCustomKeyStore",
] as const;

/** What a key policy may have to say about a key. */
export const KEY_ACTIONS: readonly string[] = [
  ...USE_ACTIONS,
  ...FORBIDDEN_ACTIONS,
  ...MANAGEMENT_ACTIONS,
  ...DESCRIPTION_ACTIONS,
  ...TAGGING_ACTIONS,
];

/** Whether KMS has this action and a key policy decides it: `kms:ReEncrypt` is two, From and To. */
export function isKeyAction(action: string): boolean {
  return KEY_ACTIONS.includes(action);
}
