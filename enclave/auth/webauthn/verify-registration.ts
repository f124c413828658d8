/** A new passkey, as the browser hands it over (WebAuthn 7.1), with the attestation `none` that we ask for. */
import { MAX_ATTESTATION_OBJECT_BYTES } from "../../../protocol/index.ts";
import { type AttestedCredential, parseAuthenticatorData } from "./authenticator-data.ts";
import { checkClientData } from "./client-data.ts";
import { type PasskeyKey, parseCoseKey } from "./cose-key.ts";
import { type CborMap, takeCborMap } from "./ctap-cbor.ts";
import { type PasskeyRules, refuse } from "./rules.ts";
import { checkAuthenticator, isSignedBy } from "./verify-assertion.ts";

export interface VerifiedRegistration {
  readonly credentialId: Uint8Array;
  readonly publicKey: PasskeyKey;
  readonly signCount: number;
  readonly isBackupEligible: boolean;
  readonly isBackedUp: boolean;
}

/** COSE's numbers, as `packed` repeats them beside its signature. */
const COSE_ALGORITHM = { ES256: -7, EdDSA: -8, RS256: -257 } as const;

/**
 * @param challenge - Base64url; {@link passkeyChallenge} of the request.
 * @throws {@link RequestError} `PASSKEY_…`
 */
export function verifyRegistration(
  response: { readonly attestationObject: Uint8Array; readonly clientDataJson: Uint8Array },
  challenge: string,
  rules: PasskeyRules,
): VerifiedRegistration {
  const { attestationObject, clientDataJson } = response;
  checkClientData(clientDataJson, { type: "webauthn.create", challenges: [challenge], rules });
  if (attestationObject.length > MAX_ATTESTATION_OBJECT_BYTES) {
    throw refuse("PASSKEY_MALFORMED", `an attestation object of ${attestationObject.length} bytes`);
  }
  const [envelope, rest] = takeCborMap(attestationObject, "attestation object");
  const authData = envelope.get("authData");
  const isWhole = rest.length === 0 && envelope.size === 3 && authData instanceof Uint8Array;
  if (!isWhole) throw refuse("PASSKEY_MALFORMED", "attestation object: expected fmt, attStmt and authData");
  const data = parseAuthenticatorData(authData);
  checkAuthenticator(data, rules);
  const { credential } = data;
  if (credential === null) throw refuse("PASSKEY_MALFORMED", "authenticator data: no credential in a registration");
  const publicKey = parseCoseKey(credential.cosePublicKey);
  checkStatement(envelope, { credential, publicKey, authData, clientDataJson });
  const { signCount, isBackupEligible, isBackedUp } = data;
  return { credentialId: credential.credentialId, publicKey, signCount, isBackupEligible, isBackedUp };
}

/**
 * Asked for `none`, a browser gives `none`, or the authenticator's own signature if that names no maker (5.1.3 step 25).
 * A maker's certificate proves nothing that this enclave asks for, and is refused rather than taken without a check.
 */
function checkStatement(
  envelope: CborMap,
  made: {
    readonly credential: AttestedCredential;
    readonly publicKey: PasskeyKey;
    readonly authData: Uint8Array;
    readonly clientDataJson: Uint8Array;
  },
): void {
  const { publicKey, authData, clientDataJson } = made;
  const format = envelope.get("fmt");
  const statement = envelope.get("attStmt");
  if (!(statement instanceof Map)) throw refuse("PASSKEY_MALFORMED", "attestation object: attStmt is not a map");
  if (format === "none" && statement.size === 0) return;
  const signature = statement.get("sig");
  const isSelf = format === "packed" && statement.size === 2 && signature instanceof Uint8Array;
  if (!isSelf) throw refuse("PASSKEY_ATTESTATION_UNSUPPORTED", "expected attestation none");
  const isSigned =
    statement.get("alg") === COSE_ALGORITHM[publicKey.algorithm] &&
    isSignedBy(publicKey, authData, clientDataJson, signature);
  if (!isSigned) throw refuse("PASSKEY_SIGNATURE_INVALID", "the registration is not signed by its own passkey");
}
