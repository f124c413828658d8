/** Condition keys and operators that IAM knows, as far as key policies use them. */

/** AWS, "AWS KMS condition keys"; those behind which a name follows are patterns below. */
const KMS_KEYS = [
  ...["BypassPolicyLockoutSafetyCheck", "CallerAccount", "CustomerMasterKeySpec", "CustomerMasterKeyUsage"],
  ...["DataKeyPairSpec", "EncryptionAlgorithm", "EncryptionContextKeys", "ExpirationModel", "GrantConstraintType"],
  ...["GrantIsForAWSResource", "GrantOperations", "GranteePrincipal", "KeyAgreementAlgorithm", "KeyOrigin", "KeySpec"],
  ...["KeyUsage", "MacAlgorithm", "MessageType", "MultiRegion", "MultiRegionKeyType", "PrimaryRegion"],
  ...["ReEncryptOnSameKey", "ReplicaRegion", "RequestAlias", "ResourceAliases", "RetiringPrincipal"],
  ...["RotationPeriodInDays", "ScheduleKeyDeletionPendingWindowInDays", "SigningAlgorithm", "ValidTo", "ViaService"],
  ...["WrappingAlgorithm", "WrappingKeySpec"],
];
const KNOWN = new Set(KMS_KEYS.map((name) => `kms:${name}`.toLowerCase()));

export type KeyMeaning =
  /** PCR0 as `ImageSha384` too. `canonical` is the name as AWS writes it. */
  | { readonly kind: "pcr"; readonly index: number; readonly canonical: string }
  | { readonly kind: "nitro-tpm" }
  | { readonly kind: "principal-arn" }
  | { readonly kind: "account" }
  | { readonly kind: "is-service" }
  /** Known, and filled by what the linter does not know. */
  | { readonly kind: "other" }
  | { readonly kind: "unknown" };

/** IAM does not tell case in names of keys. */
export function meaningOfKey(name: string): KeyMeaning {
  const key = name.toLowerCase();
  if (key === "kms:recipientattestation:imagesha384") {
    return { kind: "pcr", index: 0, canonical: "kms:RecipientAttestation:ImageSha384" };
  }
  const pcr = /^kms:recipientattestation:pcr(0|[1-9]|[12][0-9]|3[01])$/.exec(key)?.[1];
  if (pcr !== undefined) return { kind: "pcr", index: Number(pcr), canonical: `kms:RecipientAttestation:PCR${pcr}` };
  if (/^kms:recipientattestation:nitrotpmpcr[0-9]+$/.test(key)) return { kind: "nitro-tpm" };
  if (key === "aws:principalarn") return { kind: "principal-arn" };
  if (key === "aws:principalaccount" || key === "kms:calleraccount") return { kind: "account" };
  if (key === "aws:principalisawsservice") return { kind: "is-service" };
  const isKnown = KNOWN.has(key) || /^kms:encryptioncontext:./s.test(key) || /^aws:[a-z]/.test(key);
  return { kind: isKnown ? "other" : "unknown" };
}

export interface Operator {
  readonly set: "ForAllValues" | "ForAnyValue" | null;
  readonly base: string;
  readonly ifExists: boolean;
}

const COMPARISONS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"];
/** IAM User Guide, "IAM JSON policy elements: Condition operators". */
const OPERATORS = new Set([
  ...["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"].map(
    (name) => `String${name}`,
  ),
  ...["Equals", "NotEquals", "Like", "NotLike"].map((name) => `Arn${name}`),
  ...COMPARISONS.flatMap((name) => [`Numeric${name}`, `Date${name}`]),
  ...["Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "Null"],
]);

/** Null: IAM has no such operator. */
export function parseOperator(text: string): Operator | null {
  const [, set, base = "", suffix] = /^(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?$/.exec(text) ?? [];
  if (!OPERATORS.has(base) || (base === "Null" && (suffix !== undefined || set !== undefined))) return null;
  return {
    set: set === "ForAllValues" || set === "ForAnyValue" ? set : null,
    base,
    ifExists: suffix !== undefined,
  };
}

export function isNegated({ base }: Operator): boolean {
  return /^(?:String|Arn|Numeric|Date)?Not/.test(base);
}
