export {
  type DecidedBy,
  decideKeyAccess,
  type KeyAccessDecision,
  type KeyAccessQuestion,
  type StatementPlace,
  type UnresolvedCondition,
} from "./decide-key-access.ts";
export type { EnvelopeShape } from "./enveloped-data.ts";
export { sealEnvelope } from "./enveloped-data.ts";
export { KmsError, type KmsErrorCode, KmsStoreError, type KmsStoreErrorCode } from "./errors.ts";
export { latencyPlan, parseFaultScript } from "./fault-script.ts";
export type { GrantTerms } from "./grant.ts";
export type { KmsAnswer } from "./operations/call.ts";
export type { KeyPolicyInput } from "./policy-document.ts";
export type { KmsPrincipal } from "./principal.ts";
export { startSimulatedKms } from "./server.ts";
export type {
  KmsFault,
  KmsFaultPlan,
  KmsFaults,
  KmsLogEntry,
  SimulatedKms,
  SimulatedKmsOptions,
} from "./server-options.ts";
export { AWS_REQUEST_QUOTAS } from "./throttle.ts";
