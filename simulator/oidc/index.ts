export { IssuerError, type IssuerErrorCode } from "./errors.ts";
export {
  type MintOptions,
  type SimulatedIssuer,
  type SimulatedIssuerOptions,
  startSimulatedIssuer,
} from "./issuer.ts";
export { ISSUER_ALGORITHMS, type IssuerAlgorithm } from "./signing-keys.ts";
