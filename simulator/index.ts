export { SimulatorError, type SimulatorErrorCode } from "./errors.ts";
export type { HostileHooks, HostileParent } from "./hostile-parent.ts";
export type { ImdsTrouble, SimulatedImds } from "./imds/index.ts";
export { keyPolicyFor } from "./key-policy.ts";
export { decideKeyAccess, type KeyAccessDecision, KmsError } from "./kms/index.ts";
export { type Simulator, type SimulatorOptions, startSimulator } from "./start-simulator.ts";
