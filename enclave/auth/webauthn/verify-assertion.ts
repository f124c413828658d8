/** An assertion as a stamp: that the holder of a registered passkey, present and verified, vouches for a body (WebAuthn 7.2). */
import { createHash, type KeyObject, verify } from "node:crypto";
import { encodeBase64url, type WebauthnStamp } from "../../../protocol/index.ts";
import { type AuthenticatorData, parseAuthenticatorData } from "./authenticator-data.ts";
import { checkClientData } from "./client-data.ts";
import { type PasskeyAlgorithm, type PasskeyRules, refuse } from "./rules.ts";

/** What is kept of a passkey since its registration. */
export interface RegisteredPasskey {
  readonly algorithm: PasskeyAlgorithm;
  readonly key: KeyObject;
  readonly isBackupEligible: boolean;
}

export interface VerifiedAssertion {
  readonly signCount: number;
  readonly isBackedUp: boolean;
}

/**
 * Checks everything but the counter, which is compared and kept in one step where the record is: {@link checkCounter}.
 *
 * @param passkey - The one whose id the stamp names, in this app.
 * @throws {@link RequestError} `PASSKEY_…`
 */
export function verifyAssertion(
  stamp: WebauthnStamp,
  body: Uint8Array,
  passkey: RegisteredPasskey,
  rules: PasskeyRules,
): VerifiedAssertion {
  checkClientData(stamp.clientDataJson, { type: "webauthn.get", challenges: bodyChallenges(body), rules });
  const data = parseAuthenticatorData(stamp.authenticatorData);
  checkAuthenticator(data, rules);
  if (data.credential !== null) throw refuse("PASSKEY_MALFORMED", "authenticator data: a credential in an assertion");
  // 7.2 step 18: whether a credential can be copied is settled when it is made.
  if (data.isBackupEligible !== passkey.isBackupEligible) {
    throw refuse("PASSKEY_MALFORMED", "authenticator data: its backup eligibility has changed");
  }
  const isSigned = isSignedBy(passkey, stamp.authenticatorData, stamp.clientDataJson, stamp.signature);
  if (!isSigned) throw refuse("PASSKEY_SIGNATURE_INVALID", "the assertion is not signed by this passkey");
  return { signCount: data.signCount, isBackedUp: data.isBackedUp };
}

/**
 * WebAuthn 7.2 step 22: an authenticator that counts never repeats itself or goes back, and one that does says that
 * there are two of it. Zero both times is one that does not count, as synchronised passkeys do not.
 *
 * @throws {@link RequestError} `PASSKEY_COUNTER_REGRESSED`
 */
export function checkCounter(kept: number, asserted: number): void {
  if (kept === 0 && asserted === 0) return;
  if (asserted <= kept) {
    throw refuse("PASSKEY_COUNTER_REGRESSED", `its counter is at ${asserted} and was at ${kept}: perhaps a copy`);
  }
}

/** Relying party, presence and verification (7.1 and 7.2 alike). */
export function checkAuthenticator(data: AuthenticatorData, { rpId }: PasskeyRules): void {
  if (Buffer.compare(data.rpIdHash, sha256(Buffer.from(rpId, "utf8"))) !== 0) {
    throw refuse("PASSKEY_RP_MISMATCH", "authenticator data: made for another relying party id");
  }
  if (!data.isUserPresent) throw refuse("PASSKEY_USER_NOT_VERIFIED", "authenticator data: the user was not present");
  if (!data.isUserVerified) throw refuse("PASSKEY_USER_NOT_VERIFIED", "authenticator data: the user was not verified");
}

/** Signature over authenticatorData ‖ SHA-256(clientDataJSON), by the algorithm that the key was registered for. */
export function isSignedBy(
  { algorithm, key }: Pick<RegisteredPasskey, "algorithm" | "key">,
  authenticatorData: Uint8Array,
  clientDataJson: Uint8Array,
  signature: Uint8Array,
): boolean {
  const signed = Buffer.concat([authenticatorData, sha256(clientDataJson)]);
  return verify(algorithm === "EdDSA" ? null : "sha256", signed, key, signature);
}

/** Ours: the bytes of the body's SHA-256. Turnkey's clients: the text of its hex. Both name one body and no other. */
function bodyChallenges(body: Uint8Array): readonly string[] {
  const digest = sha256(body);
  return [encodeBase64url(digest), encodeBase64url(Buffer.from(digest.toString("hex"), "utf8"))];
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
