/** What an app says of its passkeys, and how a ceremony that breaks a rule is refused. */
import { type PasskeyRules as AppRules, type EnclaveErrorCode, RequestError } from "../../../protocol/index.ts";

/** What a ceremony is judged by. */
export type PasskeyRules = Pick<AppRules, "rpId" | "origins" | "topOrigins">;

/** RFC 9053; what browsers' and systems' authenticators offer. Everything else is refused. */
export type PasskeyAlgorithm = "ES256" | "EdDSA" | "RS256";

export type PasskeyErrorCode = EnclaveErrorCode & `PASSKEY_${string}`;

export function refuse(code: PasskeyErrorCode, message: string, cause?: unknown): RequestError {
  return new RequestError(code, message, { cause });
}
