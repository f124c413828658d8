/** The principals of a generated policy. */
import { KeyPolicyError } from "./errors.ts";

export interface KeyPrincipals {
  /** The key's account, 12 digits. */
  readonly accountId: string;
  /** The parent instance's role, whose credentials the enclave uses. May be another account's. */
  readonly roleArn: string;
  /** Roles or users of the key's account, who see and tag it. May be empty. */
  readonly administratorArns: readonly string[];
  /** A role of the key's account: the only one that may change the policy or destroy the key. */
  readonly breakGlassRoleArn: string;
}

/** IAM User Guide, "IAM identifiers": paths and names in printable ASCII, here without what policies would expand. */
const ARN = /^arn:(?:aws|aws-cn|aws-us-gov):iam::([0-9]{12}):(role|user)\/[A-Za-z0-9+=,.@_/-]{1,576}$/;

/** @throws {@link KeyPolicyError} `INVALID_ACCOUNT`, `INVALID_ARN`, `PRINCIPAL_CONFLICT` */
export function checkPrincipals({ accountId, roleArn, administratorArns, breakGlassRoleArn }: KeyPrincipals): void {
  if (!/^[0-9]{12}$/.test(accountId)) throw new KeyPolicyError("INVALID_ACCOUNT", "expected an account of 12 digits");
  checkArn("the enclave's role", roleArn, ["role"], null);
  checkArn("the break-glass role", breakGlassRoleArn, ["role"], accountId);
  for (const arn of administratorArns) checkArn("an administrator", arn, ["role", "user"], accountId);
  if (roleArn === breakGlassRoleArn || administratorArns.includes(roleArn)) {
    throw new KeyPolicyError("PRINCIPAL_CONFLICT", `${roleArn} uses the key, so it must not manage it too`);
  }
  if (administratorArns.includes(breakGlassRoleArn)) {
    throw new KeyPolicyError("PRINCIPAL_CONFLICT", `${breakGlassRoleArn} is the break-glass role, not for daily work`);
  }
}

/** `accountId`: KMS lets nobody of another account change a key (KMS API Reference, "Cross-account use: No"). */
function checkArn(who: string, arn: string, kinds: readonly string[], accountId: string | null): void {
  const [, account, kind = ""] = ARN.exec(arn) ?? [];
  if (!kinds.includes(kind)) {
    const shape = `arn:aws:iam::<account>:${kinds.join("|")}/<name>`;
    throw new KeyPolicyError("INVALID_ARN", `${who}: expected ${shape} without wildcards, got ${JSON.stringify(arn)}`);
  }
  if (accountId !== null && account !== accountId) {
    throw new KeyPolicyError("INVALID_ARN", `${who}: expected one of account ${accountId}, got ${JSON.stringify(arn)}`);
  }
}
