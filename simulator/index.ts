export type { BootPhase, BootReport } from "./emulated/boot-report.ts";
export {
  DEFAULT_EIF,
  DEFAULT_MEMORY_MIB,
  type Emulation,
  type EmulationOptions,
  startEmulation,
} from "./emulated/start-emulation.ts";
export { SimulatorError, type SimulatorErrorCode } from "./errors.ts";
export type { HostileHooks, HostileParent } from "./hostile-parent.ts";
export type { ImdsTrouble, SimulatedImds } from "./imds/index.ts";
export { keyPolicyFor } from "./key-policy.ts";
export { decideKeyAccess, type KeyAccessDecision, KmsError } from "./kms/index.ts";
export { type Cluster, type ClusterOptions, type Member, startCluster } from "./start-cluster.ts";
export { type Simulator, type SimulatorOptions, startSimulator } from "./start-simulator.ts";
