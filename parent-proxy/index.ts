export { type ParentConfig, parseConfig } from "./config.ts";
export { type AwsCredentials, defaultAwsCredentials } from "./credentials/aws-credentials.ts";
export type { EgressOptions } from "./egress/destination.ts";
export { ParentError, StartError, type StartErrorCode } from "./errors.ts";
export { DEFAULT_LIMITS, type ParentLimits } from "./limits.ts";
export { type ParentProxy, type ParentProxyOptions, startParentProxy } from "./parent-proxy.ts";
export type { RecordChange, RecordStore, WriteOutcome } from "./records/record-store.ts";
