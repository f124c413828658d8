export { ImdsError, type ImdsErrorCode } from "./errors.ts";
export {
  type ImdsRequest,
  type ImdsTrouble,
  type SimulatedImds,
  type SimulatedImdsOptions,
  startSimulatedImds,
} from "./imds.ts";
export { instanceEnvironment, startInstanceRole } from "./instance-role.ts";
export type { IssuedKeys, Lifetime } from "./rotating-credentials.ts";
