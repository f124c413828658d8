/** What the browser says of a ceremony, and the authenticator signs with it (WebAuthn 5.8.1). */
import { type JsonValue, MAX_CLIENT_DATA_BYTES, ProtocolError, parseStrictJson } from "../../../protocol/index.ts";
import { type PasskeyRules, refuse } from "./rules.ts";

export type Ceremony = "webauthn.create" | "webauthn.get";

/**
 * Checks type, challenge, origin and what stands around the page. Members that we do not know change nothing: 5.8.1
 * wants readers to expect them.
 *
 * @param challenges - Each is base64url; any one of them.
 * @throws {@link RequestError} `PASSKEY_MALFORMED`, `PASSKEY_TYPE_MISMATCH`, `PASSKEY_CHALLENGE_MISMATCH`,
 *   `PASSKEY_ORIGIN_NOT_ALLOWED`
 */
export function checkClientData(
  bytes: Uint8Array,
  expected: { readonly type: Ceremony; readonly challenges: readonly string[]; readonly rules: PasskeyRules },
): void {
  const { type, challenges, rules } = expected;
  const data = parseClientData(bytes);
  if (data["type"] !== type) throw refuse("PASSKEY_TYPE_MISMATCH", `clientDataJSON: type is not ${type}`);
  const {
    challenge,
    origin,
    crossOrigin = false,
    topOrigin,
    tokenBinding,
  } = data as Readonly<Record<string, JsonValue>>;
  if (typeof challenge !== "string" || !challenges.includes(challenge)) {
    throw refuse("PASSKEY_CHALLENGE_MISMATCH", "clientDataJSON: the challenge is not that of this request");
  }
  if (typeof origin !== "string" || !rules.origins.includes(origin)) {
    throw refuse("PASSKEY_ORIGIN_NOT_ALLOWED", "clientDataJSON: origin is not one of the app's");
  }
  if (typeof crossOrigin !== "boolean") throw malformed("crossOrigin is not a boolean");
  // In a frame of another site's page only if the app names that site; a browser that does not tell it does not count.
  const isFramed = crossOrigin || topOrigin !== undefined;
  if (isFramed && !(typeof topOrigin === "string" && rules.topOrigins.includes(topOrigin))) {
    throw refuse("PASSKEY_ORIGIN_NOT_ALLOWED", "clientDataJSON: in a frame of a page that the app does not name");
  }
  checkTokenBinding(tokenBinding);
}

/** Level 2, 7.2 step 14. There is no token binding on our connections, so none can be the right one. */
function checkTokenBinding(tokenBinding: JsonValue | undefined): void {
  if (tokenBinding === undefined) return;
  const isObject = typeof tokenBinding === "object" && tokenBinding !== null && !Array.isArray(tokenBinding);
  const status = isObject ? tokenBinding["status"] : undefined;
  if (status !== "supported" && status !== "not-supported") throw malformed("a token binding that cannot be checked");
}

function parseClientData(bytes: Uint8Array): Readonly<Record<string, JsonValue>> {
  if (bytes.length > MAX_CLIENT_DATA_BYTES) throw malformed(`${bytes.length} bytes, limit ${MAX_CLIENT_DATA_BYTES}`);
  let json: JsonValue;
  try {
    json = parseStrictJson(bytes);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw refuse("PASSKEY_MALFORMED", `clientDataJSON: ${cause.message}`, cause);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw malformed("not a JSON object");
  return json;
}

function malformed(why: string): Error {
  return refuse("PASSKEY_MALFORMED", `clientDataJSON: ${why}`);
}
