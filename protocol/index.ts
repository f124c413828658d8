export * from "./access.ts";
export {
  type Account,
  ADDRESS_FORMATS,
  type AddressFormat,
  account as accountSchema,
  CURVE_OF_FORMAT,
  CURVES,
  type Curve,
  derivationPath,
  MAX_ACCOUNTS,
  type NewAccount,
} from "./accounts.ts";
export * from "./answer.ts";
export {
  type ApiKey,
  type AppConfig,
  appConfig,
  DEFAULT_SESSION_LIFETIME_S,
  type IssuerConfig,
  JWT_ALGORITHMS,
  type NewApp,
  rulesOf,
  type SigningPolicy,
  withDefaults,
} from "./app-config.ts";
export * from "./attested-keys.ts";
export * from "./bundles.ts";
export * from "./cbor.ts";
export * from "./custody/sealed-share.ts";
export { combineShares, type RandomBytes, splitSecret } from "./custody/shamir.ts";
export {
  decodeShare,
  encodeShare,
  MAX_SHARE_BYTES,
  makeShares,
  openShares,
  type SecretKind,
  SHARE_ROLES,
  type Share,
  type ShareRole,
  shareDigest,
} from "./custody/share.ts";
export * from "./encoding.ts";
export * from "./erasure.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./frame.ts";
export * from "./limits.ts";
export * from "./messages.ts";
export * from "./operations.ts";
export * from "./passkeys.ts";
export * from "./policy.ts";
export * from "./policy-fields.ts";
export * from "./ports.ts";
export * from "./request.ts";
export { type Permissions, type Scope, scope, WHOLE_SCOPE } from "./scope.ts";
export {
  decodeSealed,
  keyIdOf,
  openRequest,
  type SealedAnswerParts,
  type SealedHead,
  type SealedRequestParts,
  sealRequest,
} from "./sealed.ts";
export * from "./stamp.ts";
export { type JsonValue, parseStrictJson } from "./strict-json.ts";
export * from "./webauthn-stamp.ts";
export { bytesOf, bytesUpTo, z } from "./zod.ts";
