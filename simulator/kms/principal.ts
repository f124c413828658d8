/** Who may call, and how an ARN in a policy names them. */
import { KmsError } from "./errors.ts";
import type { KeyPolicyInput, Matcher } from "./policy-document.ts";

/** One set of credentials that the simulated KMS knows. */
export interface KmsPrincipal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials; must then come with every request. */
  readonly sessionToken: string | null;
  /** A user, a role, or `arn:aws:sts::<account>:assumed-role/<role>/<session>`. */
  readonly arn: string;
  /** Unix time from which the credentials are refused; null: never. */
  readonly expiresAtMs: number | null;
  /**
   * What IAM allows and denies this principal. Left out, IAM stands aside: it allows whatever a key policy leaves to it
   * (an Allow for `arn:aws:iam::<account>:root`), and denies nothing.
   */
  readonly identityPolicies?: readonly KeyPolicyInput[];
  /** Condition keys that every request of these credentials carries, such as `kms:ViaService` or `aws:SourceVpce`. */
  readonly conditionKeys?: Readonly<Record<string, string | readonly string[]>>;
}

export interface Identity {
  readonly arn: string;
  readonly accountId: string;
  /**
   * What `aws:PrincipalArn` holds: for a session its role (IAM User Guide, "Global condition keys"). The role's path is
   * not in the session's ARN, so a role with a path cannot be simulated.
   */
  readonly principalArn: string;
}

const PRINCIPAL_ARN = /^arn:(aws|aws-cn|aws-us-gov):(iam|sts)::([0-9]{12}):([A-Za-z0-9+=,.@_/-]+)$/;

/** @throws {@link KmsError} `ValidationException` for what is not an ARN of IAM or STS. */
export function identityOf(arn: string): Identity {
  const [, partition, service, accountId, resource] = PRINCIPAL_ARN.exec(arn) ?? [];
  if (partition === undefined || accountId === undefined || resource === undefined) {
    throw new KmsError("ValidationException", "expected the ARN of a user, a role or an assumed-role session");
  }
  const role = service === "sts" ? /^assumed-role\/([^/]+)\/[^/]+$/.exec(resource)?.[1] : undefined;
  return { arn, accountId, principalArn: role === undefined ? arn : `arn:${partition}:iam::${accountId}:role/${role}` };
}

/** Whether a text may stand as an AWS principal in a policy: `*`, an account, or one ARN without wildcards. */
export function isPolicyPrincipal(text: string): boolean {
  return text === "*" || /^[0-9]{12}$/.test(text) || PRINCIPAL_ARN.test(text);
}

/** How a statement's principals fit a caller. `account`: they name its account, and so leave the matter to IAM. */
export type PrincipalMatch = "direct" | "account" | "none";

/**
 * `NotPrincipal` in a Deny spares a caller only if the list names it in full: account, role and session (IAM User Guide,
 * "NotPrincipal"). In an Allow it leaves out whoever the list names in any way. Both err on the side of no.
 */
export function matchPrincipal(
  { patterns, negated }: Matcher,
  identity: Identity,
  effect: "Allow" | "Deny",
): PrincipalMatch {
  if (!negated) return bestMatch(patterns, identity);
  if (effect === "Allow") return bestMatch(patterns, identity) === "none" ? "direct" : "none";
  const whole = [identity.arn, identity.principalArn].every((arn) => patterns.includes(arn));
  const spared = patterns.includes("*") || (whole && patterns.some((text) => namesAccount(text, identity)));
  return spared ? "none" : "direct";
}

function bestMatch(patterns: readonly string[], identity: Identity): PrincipalMatch {
  const { arn, principalArn } = identity;
  if (patterns.some((text) => text === "*" || text === arn || text === principalArn)) return "direct";
  return patterns.some((text) => namesAccount(text, identity)) ? "account" : "none";
}

function namesAccount(text: string, { accountId }: Identity): boolean {
  return text === accountId || /^arn:[a-z-]+:iam::([0-9]{12}):root$/.exec(text)?.[1] === accountId;
}
