/** Passkeys in browsers: made and asked by `navigator.credentials`, so that their private halves never leave the device. */
import {
  decodeBase64url,
  encodeBase64url,
  encodeWebauthnStamp,
  type Params,
  passkeyRegistrationInput,
} from "../protocol/index.ts";

/** A passkey that stamps requests. Each stamp asks the user. */
export interface PasskeyStampKey {
  /** Base64url, if it is known: a login names it, so that no other passkey can take its place. */
  readonly credentialId?: string;
  /** The header's value. @throws DOMException `NotAllowedError` if the user declines, or takes too long. */
  stamp(body: Uint8Array<ArrayBuffer>): Promise<string>;
}

/** COSE algorithms, in the order in which they are wanted: ES256, EdDSA, RS256. */
const ALGORITHMS = [-7, -8, -257];

export interface NewPasskeyOptions {
  /** As the app's `passkeys.rpId`; the name is shown by the browser. */
  readonly rp: { readonly id: string; readonly name: string };
  /** What the browser's list of passkeys shows. */
  readonly user: { readonly name: string; readonly displayName: string };
  /** What the user's list of passkeys, {@link Account.listPasskeys}, shows. */
  readonly name: string;
  /** Those that are registered already: an authenticator that has one makes no other. Base64url. */
  readonly exclude?: readonly string[];
}

/**
 * Has the browser make a passkey for one `register_passkey` request. It is not registered by that: see
 * {@link Account.registerPasskey}, which calls this.
 *
 * @throws DOMException as `navigator.credentials.create` does: `NotAllowedError` if the user declines.
 */
export async function createPasskey(
  request: { readonly audience: string; readonly userId: string; readonly requestId: string },
  options: NewPasskeyOptions,
): Promise<{ readonly key: PasskeyStampKey; readonly params: Params<"register_passkey"> }> {
  const { rp, user, name, exclude = [] } = options;
  const credential = await navigator.credentials.create({
    publicKey: {
      challenge: await sha256(passkeyRegistrationInput(request)),
      rp,
      // Authenticators keep one passkey for each user of a relying party; the id is no secret and no name.
      user: { ...user, id: new TextEncoder().encode(request.userId) },
      pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "none",
      excludeCredentials: exclude.map((id) => ({ type: "public-key", id: decodeBase64url(id) })),
    },
  });
  const { rawId, response } = credentialOf(credential);
  const { attestationObject, clientDataJSON } = response as AuthenticatorAttestationResponse;
  return {
    key: passkeyStampKey({ credentialId: encodeBase64url(new Uint8Array(rawId)), rpId: rp.id }),
    params: {
      name,
      attestationObject: encodeBase64url(new Uint8Array(attestationObject)),
      clientDataJson: encodeBase64url(new Uint8Array(clientDataJSON)),
    },
  };
}

/**
 * A passkey by the id of its credential.
 *
 * @param passkey.credentialId - Base64url, as {@link Account.listPasskeys} has it. Null: whichever of this relying party's the user picks.
 */
export function passkeyStampKey(passkey: {
  readonly credentialId: string | null;
  readonly rpId: string;
}): PasskeyStampKey {
  const { credentialId, rpId } = passkey;
  return {
    ...(credentialId === null ? {} : { credentialId }),
    async stamp(body) {
      const credential = await navigator.credentials.get({
        publicKey: {
          challenge: await sha256(body),
          rpId,
          allowCredentials: credentialId === null ? [] : [{ type: "public-key", id: decodeBase64url(credentialId) }],
          userVerification: "required",
        },
      });
      const { rawId, response } = credentialOf(credential);
      const { authenticatorData, clientDataJSON, signature } = response as AuthenticatorAssertionResponse;
      return encodeWebauthnStamp({
        credentialId: new Uint8Array(rawId),
        authenticatorData: new Uint8Array(authenticatorData),
        clientDataJson: new Uint8Array(clientDataJSON),
        signature: new Uint8Array(signature),
      });
    },
  };
}

function credentialOf(credential: Credential | null): PublicKeyCredential {
  if (credential === null || credential.type !== "public-key") throw new TypeError("the browser gave no passkey");
  return credential as PublicKeyCredential;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", bytes);
}
