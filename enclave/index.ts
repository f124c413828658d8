export { type DescribedSecret, describeSecret } from "./custody/describe-secret.ts";
export { StartError, type StartErrorCode } from "./errors.ts";
export { kmsHost, parseManifest } from "./manifest.ts";
export type { NsmDevice } from "./nsm/nsm.ts";
export { openNsmDevice } from "./nsm/nsm-device.ts";
export {
  type Caller,
  type Facts,
  factsFromJson,
  factsOfEvmTransaction,
  factsOfPsbt,
  factsOfSolanaTransaction,
  factsOfTypedData,
  type Level,
  lintPolicy,
  type OfferedKeys,
  type PolicyFinding,
  type PolicyRequest,
  tryPolicies,
} from "./policy/offline.ts";
export { type Enclave, type EnclaveOptions, startEnclave } from "./start-enclave.ts";
export { WORKER_ENTRY } from "./workers/entry.ts";
