/** What a developer may ask of the token endpoint. */
import { type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { IssuerError } from "./errors.ts";

/** OpenID Connect Core 1.0, section 2: `sub` has at most 255 ASCII characters; we hold the others to the same. */
const MAX_TEXT_LENGTH = 255;
const FIELDS = ["subject", "audience", "nonce"] as const;

export interface TokenRequest {
  readonly subject: string;
  readonly audience: string;
  readonly nonce?: string;
}

/** @throws {@link IssuerError} `MALFORMED_JSON`, `UNKNOWN_FIELD`, `INVALID_SUBJECT`, `INVALID_AUDIENCE`, `INVALID_NONCE` */
export function parseTokenRequest(body: Uint8Array): TokenRequest {
  let json: JsonValue;
  try {
    json = parseStrictJson(body);
  } catch (cause) {
    throw new IssuerError("MALFORMED_JSON", "expected one JSON object, without duplicate keys", { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new IssuerError("MALFORMED_JSON", "expected one JSON object");
  }
  for (const name of Object.keys(json)) {
    if (!FIELDS.some((field) => field === name)) {
      throw new IssuerError("UNKNOWN_FIELD", `expected ${FIELDS.join(", ")} alone`);
    }
  }
  const { subject, audience, nonce } = json;
  return {
    subject: textOf("INVALID_SUBJECT", "subject", subject),
    audience: textOf("INVALID_AUDIENCE", "audience", audience),
    ...(nonce === undefined ? {} : { nonce: textOf("INVALID_NONCE", "nonce", nonce) }),
  };
}

function textOf(
  code: "INVALID_SUBJECT" | "INVALID_AUDIENCE" | "INVALID_NONCE",
  name: string,
  value?: JsonValue,
): string {
  if (typeof value !== "string" || value.length > MAX_TEXT_LENGTH || !/^[\x20-\x7e]+$/.test(value)) {
    throw new IssuerError(code, `${name}: expected 1 to ${MAX_TEXT_LENGTH} printable ASCII characters`);
  }
  return value;
}
