/** Everything that the linter can find: how bad it is, the attack it allows, the repair. */

export type Severity = "error" | "warning";

interface FindingKind {
  readonly severity: Severity;
  readonly attack: string;
  readonly repair: string;
}

export const FINDINGS = {
  // The text.
  MALFORMED_JSON: {
    severity: "error",
    attack: "KMS refuses the file, so the policy that is in force stays, whatever it allows.",
    repair: "Correct the syntax.",
  },
  DUPLICATE_KEY: {
    severity: "error",
    attack: "Readers and parsers may each take another of the two values: what was reviewed is not what is in force.",
    repair: "Keep one; list several values in one array.",
  },
  MALFORMED_POLICY: {
    severity: "error",
    attack:
      "KMS refuses the file, so what is in force stays; or, without Action or Resource, it takes it and the statement has no effect.",
    repair: "Write the element as the IAM policy grammar says.",
  },
  INVALID_CHARACTER: {
    severity: "error",
    attack: "KMS refuses characters beyond Latin-1, and such a character may look like another to a reviewer.",
    repair: "Write ASCII; names of AWS have nothing else.",
  },
  POLICY_TOO_LARGE: {
    severity: "error",
    attack: "KMS refuses more than 32768 bytes, so the policy that is in force stays.",
    repair: "Retire PCR sets that are no longer needed.",
  },
  OLD_VERSION: {
    severity: "warning",
    attack: "Under an old or absent Version, policy variables are plain text and conditions on them do not hold.",
    repair: 'Write "Version": "2012-10-17".',
  },
  DUPLICATE_SID: {
    severity: "warning",
    attack: "A reviewer who looks a statement up by its Sid reads the wrong one.",
    repair: "Give every statement a Sid of its own.",
  },

  // Who.
  ACCOUNT_ROOT_DELEGATION: {
    severity: "error",
    attack:
      "Whoever can write IAM policies in the account can give himself these actions on the key, from any machine.",
    repair: "Name roles in place of the account, and only for what each needs.",
  },
  WILDCARD_PRINCIPAL: {
    severity: "error",
    attack: "Every AWS account in the world is allowed, save for what a condition happens to hold back.",
    repair: "Name the role.",
  },
  PARTIAL_WILDCARD_PRINCIPAL: {
    severity: "error",
    attack: "A principal is compared letter by letter: the pattern names nobody, and a Deny with it denies nobody.",
    repair: 'Name each ARN, or "*" with a condition on aws:PrincipalArn.',
  },
  NOT_PRINCIPAL_ALLOW: {
    severity: "error",
    attack: "Everybody but those named is allowed, anonymous callers and other accounts included.",
    repair: "Use Principal and name the role.",
  },
  NOT_PRINCIPAL_DENY: {
    severity: "warning",
    attack:
      "A role's sessions are principals of their own: the Deny may hit those it means to spare, or be widened until it hits nobody.",
    repair: 'Deny "*" with StringNotEquals on aws:PrincipalArn.',
  },
  SESSION_PRINCIPAL: {
    severity: "warning",
    attack: "A session's name is chosen by whoever assumes the role: it identifies nobody.",
    repair: "Name the role.",
  },
  DELETED_PRINCIPAL: {
    severity: "warning",
    attack:
      "AWS shows an id where the principal was deleted; the statement now names nobody, perhaps not even your rescuer.",
    repair: "Name a role that exists.",
  },

  // What.
  WILDCARD_ACTION: {
    severity: "error",
    attack: "The pattern allows actions that need no attestation, and those that AWS adds later.",
    repair: "List each action.",
  },
  NOT_ACTION_ALLOW: {
    severity: "error",
    attack: "Everything is allowed that is not listed, and what AWS adds later.",
    repair: "Use Action and list each action.",
  },
  UNKNOWN_ACTION: {
    severity: "error",
    attack: "KMS has no such action: an Allow gives nothing, and a Deny of a misspelt action denies nothing.",
    repair: "Correct the name; actions are kms:Decrypt, kms:GenerateDataKey and so on.",
  },
  ACTION_WITHOUT_KEY: {
    severity: "warning",
    attack: "The action names no key, so no key policy decides it; the statement only looks like a restriction.",
    repair: "Move it to the role's IAM policy.",
  },

  // Use without attestation.
  UNATTESTED_DECRYPT: {
    severity: "error",
    attack:
      "Whoever has these credentials on any machine, the enclave's parent included, decrypts what the enclave sealed.",
    repair: "Allow it only with StringEqualsIgnoreCase on kms:RecipientAttestation:PCR0, and deny the rest.",
  },
  UNATTESTED_GENERATE_DATA_KEY: {
    severity: "error",
    attack:
      "The parent makes a data key that it knows in plaintext, and gives the enclave the ciphertext to seal secrets under.",
    repair: "Allow it only with StringEqualsIgnoreCase on kms:RecipientAttestation:PCR0, and deny the rest.",
  },
  UNATTESTED_OTHER_USE: {
    severity: "error",
    attack: "The result comes in plaintext to whoever has these credentials, on any machine.",
    repair: "Do not allow it: the enclave calls Decrypt and GenerateDataKey alone.",
  },
  ANY_IMAGE_ADMITTED: {
    severity: "error",
    attack: "Every enclave of anybody passes, also one that hands its plaintext out.",
    repair: "Compare PCR0, or PCR8 and PCR3, with values of your own.",
  },
  WEAK_IDENTITY: {
    severity: "error",
    attack: "No image is named: whoever may use the role or the instance starts an image of his own under it.",
    repair: "Demand PCR0, or PCR8 and PCR3 together.",
  },
  ZERO_PCR: {
    severity: "error",
    attack: "Zeros are what every debug enclave shows, and the parent reads a debug enclave's console.",
    repair: "Take the measurements from the build of the image, not from a debug run.",
  },
  NITRO_TPM_KEY: {
    severity: "error",
    attack:
      "The key belongs to documents of EC2 instances with NitroTPM: an enclave never fills it, an instance with its operator can.",
    repair: "Use kms:RecipientAttestation:PCR<n>.",
  },

  // Ways round.
  ENCRYPT_ALLOWED: {
    severity: "error",
    attack:
      "The parent encrypts a data key of its own choice and passes it off as the vault's: what is sealed under it, it reads.",
    repair: "Do not allow it: GenerateDataKey returns the ciphertext that is stored.",
  },
  BLOB_WITHOUT_PLAINTEXT_ALLOWED: {
    severity: "warning",
    attack: "Others make ciphertexts that the enclave cannot tell from its own.",
    repair: "Do not allow it.",
  },
  RE_ENCRYPT_ALLOWED: {
    severity: "error",
    attack: "ReEncrypt takes no attestation: a ciphertext moves to a key whose owner decrypts it.",
    repair: "Deny kms:ReEncryptFrom and kms:ReEncryptTo to everybody.",
  },
  CREATE_GRANT_ALLOWED: {
    severity: "error",
    attack: "A grant allows Decrypt to anybody, and its constraints know nothing of attestation.",
    repair: "Deny kms:CreateGrant to everybody.",
  },
  REPLICATION_ALLOWED: {
    severity: "error",
    attack: "A replica in another region has the same key material and a key policy of the replicator's choice.",
    repair: "Deny kms:ReplicateKey and kms:UpdatePrimaryRegion to everybody; use a single-region key.",
  },
  KEY_MATERIAL_IMPORT_ALLOWED: {
    severity: "error",
    attack: "Whoever imports key material knows it, and decrypts without KMS.",
    repair: "Deny the import of key material to everybody.",
  },
  UNATTESTABLE_USE_ALLOWED: {
    severity: "warning",
    attack: "KMS takes no attestation for this: whoever has the credentials may do it from any machine.",
    repair: "Do not allow it; sign inside the enclave with keys that it unseals.",
  },

  // Who rules the key.
  POLICY_CHANGE_BY_OTHERS: {
    severity: "error",
    attack: "PutKeyPolicy takes no attestation: they replace this policy by one that allows them to decrypt.",
    repair: "Allow kms:PutKeyPolicy to one break-glass role and deny it to all others.",
  },
  KEY_DESTRUCTION_BY_OTHERS: {
    severity: "error",
    attack:
      "They disable the key or schedule its deletion: the vault never opens again, and you pay to have it cancelled.",
    repair: "Allow it to the break-glass role and deny it to all others.",
  },
  BREAK_GLASS_CAN_USE: {
    severity: "error",
    attack:
      "One role changes the policy and uses the key: one stolen session is enough to read the vault without a trace in the policy.",
    repair: "Use and management are two roles.",
  },
  NO_BREAK_GLASS: {
    severity: "error",
    attack: "Nobody may change the policy: the next image can never be admitted, and the vault is lost with the last.",
    repair: "Allow kms:PutKeyPolicy to a break-glass role that exists, and exempt it from every Deny of it.",
  },

  // Denies.
  MISSING_ATTESTATION_DENY: {
    severity: "error",
    attack: "Grants, and any statement that is added later, allow use without a document: nothing overrules them.",
    repair: 'Deny both to "*" with StringNotEqualsIgnoreCase on the same PCRs.',
  },
  DENY_MISSES_OTHER_IMAGES: {
    severity: "error",
    attack: "The Deny stops a request without a document, not one with another image's or a debug enclave's.",
    repair: "Compare the values with StringNotEqualsIgnoreCase: it denies an absent document as well.",
  },
  DENY_MISSES_MIXED_SETS: {
    severity: "warning",
    attack: "A document with one PCR of one allowed set and another PCR of the other is not denied.",
    repair: 'Multiply the sets out, as "cloister kms-policy generate" does.',
  },
  MISSING_DENY: {
    severity: "warning",
    attack: "A statement or a grant that is added later opens this way round attestation, and nothing overrules it.",
    repair: 'Deny these to "*", and management to all but the break-glass role.',
  },

  // Conditions.
  UNKNOWN_OPERATOR: {
    severity: "error",
    attack: "IAM has no such operator: KMS refuses the file, and the policy that is in force stays.",
    repair: "Use StringEqualsIgnoreCase to allow and StringNotEqualsIgnoreCase to deny.",
  },
  UNKNOWN_CONDITION_KEY: {
    severity: "error",
    attack: "No request has this key: an Allow never holds, and a Deny by a positive operator never denies.",
    repair: "kms:RecipientAttestation:ImageSha384, or kms:RecipientAttestation:PCR<0 to 31> without leading zeros.",
  },
  CONDITION_KEY_CASE: {
    severity: "warning",
    attack: "IAM does not tell case in names of keys; searches and review tools do, and miss this one.",
    repair: "Write the name as AWS does.",
  },
  WRONG_OPERATOR_TYPE: {
    severity: "error",
    attack: "A PCR is text: this operator never finds it equal.",
    repair: "Use StringEqualsIgnoreCase to allow and StringNotEqualsIgnoreCase to deny.",
  },
  IF_EXISTS_ALLOW: {
    severity: "error",
    attack: "...IfExists holds where the key is absent: a request without any document is allowed.",
    repair: "Use the operator without IfExists.",
  },
  IF_EXISTS_DENY: {
    severity: "warning",
    attack:
      "What holds for an absent key is easily misread, and by a positive operator the Deny hits requests without a document only.",
    repair: "Use StringNotEqualsIgnoreCase, which denies an absent key by itself.",
  },
  FOR_ALL_VALUES_ALLOW: {
    severity: "error",
    attack: "ForAllValues holds where the key is absent: a request without any document is allowed.",
    repair: "Use the operator without ForAllValues: a PCR has one value.",
  },
  FOR_ANY_VALUE_DENY: {
    severity: "error",
    attack: "ForAnyValue does not hold where the key is absent: a request without any document is not denied.",
    repair: "Use StringNotEqualsIgnoreCase without ForAnyValue.",
  },
  PCR_CASE: {
    severity: "error",
    attack:
      "KMS compares with lower-case hex: upper case is never equal, so an Allow never holds and the key is locked out.",
    repair: "Use StringEqualsIgnoreCase or StringNotEqualsIgnoreCase, or write lower case.",
  },
  PCR_MALFORMED: {
    severity: "error",
    attack:
      "A PCR is SHA-384, 96 hex digits: this value never matches, so a Deny by it may deny all, and an Allow gives nothing.",
    repair: "Copy the whole value from the build's measurements.",
  },
  PCR_PATTERN: {
    severity: "error",
    attack: "A pattern admits images that nobody measured.",
    repair: "Compare whole values with StringEqualsIgnoreCase.",
  },
  EMPTY_CONDITION: {
    severity: "error",
    attack: "No value to compare with: a positive operator never holds and a negated one always does.",
    repair: "Give a value, or leave the condition out.",
  },

  // Where, and to what end.
  RESOURCE_ALIAS: {
    severity: "error",
    attack: "A key policy knows its key by the key's ARN: a statement with an alias never applies, a Deny included.",
    repair: 'Write "Resource": "*", which in a key policy is this key alone.',
  },
  RESOURCE_NARROWED: {
    severity: "warning",
    attack: "If the ARN is not exactly this key's, the statement does not apply, and its Deny denies nothing.",
    repair: 'Write "Resource": "*", which in a key policy is this key alone.',
  },
  NOT_RESOURCE: {
    severity: "error",
    attack: "In a key policy there is one resource; NotResource misses it or says nothing.",
    repair: 'Write "Resource": "*".',
  },
  CONDITION_NEVER_MET: {
    severity: "warning",
    attack:
      "These actions take no document, so the condition never holds; people repair that by allowing them without.",
    repair: "Put actions that need no attestation into a statement of their own.",
  },
  UNREACHABLE_STATEMENT: {
    severity: "warning",
    attack:
      "The statement never has effect; whoever relies on it is mistaken, and will open something else to make things work.",
    repair: "Correct the condition or the Deny that stands against it, or delete the statement.",
  },
  TOO_COMPLEX: {
    severity: "warning",
    attack: "More combinations of PCRs than are tried: mixed sets may pass unseen.",
    repair: "Use fewer PCRs, or sets.",
  },
} as const satisfies Readonly<Record<string, FindingKind>>;

export type FindingCode = keyof typeof FINDINGS;

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** Counted from 1. */
  readonly line: number;
  /** Counted from 1, in UTF-16 units. */
  readonly column: number;
  /** The statement's Sid, or its number as `#1`; null where the finding is of the whole policy. */
  readonly statement: string | null;
  readonly message: string;
  readonly attack: string;
  readonly repair: string;
}

/** Takes what a rule found. `at` is an offset in the text. */
export type Report = (code: FindingCode, at: number, message: string, statement?: string | null) => void;
