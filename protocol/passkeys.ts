/** Passkeys (WebAuthn credentials): what an app says of them, and what binds a new one to the request that brings it. */
import { MAX_ATTESTATION_OBJECT_BYTES, MAX_CLIENT_DATA_BYTES } from "./limits.ts";
import { operations } from "./scope.ts";
import { z } from "./zod.ts";

/** A domain, as WebAuthn wants a relying party's id: no scheme, no port. */
const domain = z
  .string()
  .check(
    z.maxLength(253),
    z.regex(/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, "expected a domain"),
  );

/** A browser's origin (https, or http on localhost for development), or an Android app's. */
const origin = z.string().check(
  z.maxLength(300),
  z.refine((text) => {
    if (/^android:apk-key-hash:[A-Za-z0-9_-]{43}$/.test(text)) return true;
    const url = URL.parse(text);
    const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && url.hostname === "localhost");
    return isSafe && url.origin === text;
  }, "expected an https origin, http://localhost with its port, or android:apk-key-hash:…"),
);

/** Whose passkeys an app takes. */
export const passkeyRules = z
  .strictObject({
    /** The relying party's id: a credential made for another does not count. */
    rpId: domain,
    /** Pages that may ask for a stamp, compared character by character. */
    origins: z.array(origin).check(z.minLength(1), z.maxLength(8)),
    /** Other sites' pages that may hold such a page in a frame. Empty: none. */
    topOrigins: z.array(origin).check(z.maxLength(8)),
    /** What a passkey's own stamp may ask for, beside logging in; null for everything that a user may. */
    operations: z.nullable(operations),
  })
  .check(
    z.refine(({ rpId, origins }) => origins.every((each) => isUnder(each, rpId)), "an origin that is not under rpId"),
  );
export type PasskeyRules = z.output<typeof passkeyRules>;

/** WebAuthn 5.1.3 step 8: a page may only ask for its own domain or one above it. Apps are tied to it by the system. */
function isUnder(page: string, rpId: string): boolean {
  const hostname = URL.parse(page)?.hostname ?? "";
  return page.startsWith("android:") || hostname === rpId || hostname.endsWith(`.${rpId}`);
}

const base64url = (maxBytes: number) =>
  z
    .string()
    .check(
      z.minLength(1),
      z.maxLength(Math.ceil((maxBytes * 4) / 3)),
      z.regex(/^[A-Za-z0-9_-]+$/, "expected base64url without padding"),
    );

/** WebAuthn Level 3, 4: 1023 bytes at most. */
export const credentialId = base64url(1023);
export const passkeyId = z.string().check(z.regex(/^psk_[0-9a-f]{32}$/, "expected psk_ and 32 hex digits"));

/** What `navigator.credentials.create` gave, in base64url, and what the user calls it. */
export const newPasskey = z.strictObject({
  name: z.string().check(z.minLength(1), z.maxLength(64)),
  attestationObject: base64url(MAX_ATTESTATION_OBJECT_BYTES),
  clientDataJson: base64url(MAX_CLIENT_DATA_BYTES),
});

export const passkey = z.strictObject({
  passkeyId,
  /** Base64url, as browsers want it in `allowCredentials`. */
  credentialId: z.string(),
  name: z.string(),
  algorithm: z.enum(["ES256", "EdDSA", "RS256"]),
  /** It may be copied to the user's other devices, and has been when it last stamped. */
  isBackupEligible: z.boolean(),
  isBackedUp: z.boolean(),
  createdAtMs: z.int(),
});
export type Passkey = z.output<typeof passkey>;

const CONTEXT = "cloister/passkey-registration/v1";

/**
 * What a registration's challenge is the SHA-256 of. The body cannot be: it holds the attestation, which holds the
 * challenge. None of the parts contains a line feed.
 */
export function passkeyRegistrationInput(request: {
  readonly audience: string;
  readonly userId: string;
  readonly requestId: string;
}): Uint8Array<ArrayBuffer> {
  const { audience, userId, requestId } = request;
  return new TextEncoder().encode([CONTEXT, audience, userId, requestId].map((part) => `${part}\n`).join(""));
}
