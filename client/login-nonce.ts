import { encodeHex } from "../protocol/index.ts";
import type { StampKey } from "./stamp-key.ts";

/** The `nonce` to ask a token for: hex SHA-256 of the session key's hex, which binds the token to that key. */
export async function loginNonce({ publicKey }: StampKey): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(encodeHex(publicKey)));
  return encodeHex(new Uint8Array(digest));
}
