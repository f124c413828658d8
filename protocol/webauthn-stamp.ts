/**
 * A passkey's stamp. The header's form is Turnkey's (`X-Stamp-Webauthn`): JSON, its members base64url, the challenge in
 * its client data naming the body. On the way to the enclave it stands in the list of stamps as it came; no other stamp
 * begins with a brace.
 */
import { decodeBase64url, encodeBase64url } from "./encoding.ts";
import { ProtocolError } from "./errors.ts";
import { MAX_WEBAUTHN_STAMP_BYTES } from "./limits.ts";
import { parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

export const WEBAUTHN_STAMP_HEADER = "x-stamp-webauthn";

export interface WebauthnStamp {
  readonly credentialId: Uint8Array<ArrayBuffer>;
  /** As the authenticator wrote it (WebAuthn 6.1). */
  readonly authenticatorData: Uint8Array<ArrayBuffer>;
  /** As the browser wrote it, UTF-8 (WebAuthn 5.8.1): the signature covers these bytes and no other spelling. */
  readonly clientDataJson: Uint8Array<ArrayBuffer>;
  /** ES256: DER. EdDSA: 64 bytes. RS256: as long as the key. */
  readonly signature: Uint8Array<ArrayBuffer>;
}

const base64url = z.string().check(z.minLength(1), z.regex(/^[A-Za-z0-9_-]+$/));
const stampJson = z.strictObject({
  authenticatorData: base64url,
  clientDataJson: base64url,
  credentialId: base64url,
  signature: base64url,
});

/** Says which kind of stamp stands in a list of them. */
export function isWebauthnStamp(header: string): boolean {
  return header.startsWith("{");
}

/** One header value. */
export function encodeWebauthnStamp(stamp: WebauthnStamp): string {
  return JSON.stringify({
    authenticatorData: encodeBase64url(stamp.authenticatorData),
    clientDataJson: encodeBase64url(stamp.clientDataJson),
    credentialId: encodeBase64url(stamp.credentialId),
    signature: encodeBase64url(stamp.signature),
  });
}

/**
 * Reads one header value. It proves nothing yet.
 *
 * @throws {@link ProtocolError} `MALFORMED_STAMP`
 */
export function decodeWebauthnStamp(header: string): WebauthnStamp {
  if (header.length > MAX_WEBAUTHN_STAMP_BYTES) {
    throw malformed(`a passkey's stamp of ${header.length} characters, limit ${MAX_WEBAUTHN_STAMP_BYTES}`);
  }
  // Answers are bound to stamps with a line feed after each: none may stand inside one.
  if (!/^[\x20-\x7e]*$/.test(header)) throw malformed("a passkey's stamp is printable ASCII");
  try {
    const { authenticatorData, clientDataJson, credentialId, signature } = stampJson.parse(
      parseStrictJson(new TextEncoder().encode(header)),
    );
    return {
      authenticatorData: decodeBase64url(authenticatorData),
      clientDataJson: decodeBase64url(clientDataJson),
      credentialId: decodeBase64url(credentialId),
      signature: decodeBase64url(signature),
    };
  } catch (cause) {
    const members = "authenticatorData, clientDataJson, credentialId and signature";
    throw malformed(`a passkey's stamp is JSON with ${members} in base64url`, cause);
  }
}

function malformed(message: string, cause?: unknown): ProtocolError {
  return new ProtocolError("MALFORMED_STAMP", message, { cause });
}
