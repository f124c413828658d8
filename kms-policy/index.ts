export { isKeyAction } from "./actions.ts";
export { KeyPolicyError, type KeyPolicyErrorCode } from "./errors.ts";
export { FINDINGS, type Finding, type FindingCode, type Severity } from "./findings.ts";
export {
  formatKeyPolicy,
  generateKeyPolicy,
  type KeyPolicyDocument,
  type KeyPolicyParameters,
  MAX_POLICY_BYTES,
  type PolicyStatement,
} from "./generate.ts";
export { type LintOptions, lintKeyPolicy } from "./lint.ts";
export { createPcrValues, MAX_PCRS_IN_SET, MAX_SETS, type PcrValues } from "./pcr-set.ts";
export type { KeyPrincipals } from "./principals.ts";
export { type Rotation, type RotationStep, rotateKeyPolicy } from "./rotate.ts";
