# kms-policy/actions.ts says what each list is for, and a test holds the two together.

locals {
  use_actions = [
    "kms:Decrypt",
    "kms:GenerateDataKey",
  ]

  forbidden_actions = [
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
  ]

  management_actions = [
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
  ]

  description_actions = [
    "kms:DescribeKey",
    "kms:GetKeyLastUsage",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:GetPublicKey",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
  ]

  tagging_actions = [
    "kms:TagResource",
    "kms:UntagResource",
  ]
}
