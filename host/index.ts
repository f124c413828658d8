export { type CommandResult, type RunCommand, runCommand } from "./command.ts";
export { CHECK_IDS, type CheckId, type Finding, type Outcome } from "./doctor/check.ts";
export {
  type AccessQuestion,
  Context,
  DEFAULT_PATHS,
  type ManifestSettings,
  type ParentSettings,
  type Paths,
  type Tools,
} from "./doctor/context.ts";
export { FactError, type FactErrorCode, type Facts, type FileFacts, type HttpAnswer } from "./doctor/facts.ts";
export { fetchKeyPolicy } from "./doctor/fetch-key-policy.ts";
export { nodeFacts } from "./doctor/node-facts.ts";
export { drawFindings, statusOf } from "./doctor/report.ts";
export { runChecks } from "./doctor/run-checks.ts";
export { HostError, type HostErrorCode } from "./errors.ts";
export { type EnclaveConfig, parseEnclaveConfig } from "./nitro-cli/enclave-config.ts";
export { type Measurements, parseMeasurements } from "./nitro-cli/measurements.ts";
export { checkImage, type MeasuredImage, type MeasureImage } from "./supervisor/check-image.ts";
export { NitroCli } from "./supervisor/nitro-cli-client.ts";
export { superviseEnclave, terminateIfRunning } from "./supervisor/supervise.ts";
