/** Who may call, and how an ARN in a policy names them. */
import { KmsError } from "./errors.ts";

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

export function namesPrincipal(text: string, identity: Identity): boolean {
  if (text === "*") return true;
  if (text === identity.accountId || /^arn:[a-z-]+:iam::([0-9]{12}):root$/.exec(text)?.[1] === identity.accountId) {
    return true;
  }
  return text === identity.arn || text === identity.principalArn;
}
