/**
 * Stamps: who vouches for a request body. The header's form is Turnkey's (`X-Stamp`), so that its clients can stamp
 * for us: base64url of JSON `{"publicKey","scheme","signature"}`. The signature covers the exact body bytes.
 */
import { decodeBase64url, decodeHex, encodeBase64url, encodeHex } from "./encoding.ts";
import { ProtocolError } from "./errors.ts";
import { MAX_STAMP_BYTES } from "./limits.ts";
import { parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

export const STAMP_HEADER = "x-stamp";

/** Each scheme's public key length in bytes: compressed points for the two ECDSA curves (SEC 1, 2.3.3), RFC 8032 for Ed25519. */
export const STAMP_SCHEMES = {
  SIGNATURE_SCHEME_TK_API_P256: { publicKeyBytes: 33 },
  SIGNATURE_SCHEME_TK_API_SECP256K1: { publicKeyBytes: 33 },
  SIGNATURE_SCHEME_TK_API_ED25519: { publicKeyBytes: 32 },
} as const;

export type StampScheme = keyof typeof STAMP_SCHEMES;

export interface Stamp {
  readonly scheme: StampScheme;
  /** 33 bytes compressed, or 32 for Ed25519. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** ECDSA over SHA-256 of the body: DER (RFC 3279, 2.2.3). Ed25519 over the body: 64 bytes. */
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** DER of an ECDSA signature over a 256-bit curve is 72 bytes at most; both schemes fit. */
const MAX_SIGNATURE_BYTES = 72;

const HEX = /^(?:[0-9a-fA-F]{2})+$/;
const hex = z.string().check(z.regex(HEX), z.maxLength(MAX_SIGNATURE_BYTES * 2));
/** Exported for the test that asks it and {@link decodeStamp} the same. */
export const stampJson = z.strictObject({
  publicKey: hex,
  scheme: z.enum(Object.keys(STAMP_SCHEMES) as [StampScheme, ...StampScheme[]]),
  signature: hex,
});
type StampJson = z.output<typeof stampJson>;

/** One header value. */
export function encodeStamp(stamp: Stamp): string {
  const json = {
    publicKey: encodeHex(stamp.publicKey),
    scheme: stamp.scheme,
    signature: encodeHex(stamp.signature),
  };
  return encodeBase64url(new TextEncoder().encode(JSON.stringify(json)));
}

/**
 * Reads one header value. It proves nothing yet: the signature is not checked here.
 *
 * @throws {@link ProtocolError} `MALFORMED_STAMP`
 */
export function decodeStamp(header: string): Stamp {
  if (header.length > MAX_STAMP_BYTES) {
    throw new ProtocolError("MALFORMED_STAMP", `a stamp of ${header.length} characters, limit ${MAX_STAMP_BYTES}`);
  }
  let json: unknown;
  try {
    json = parseStrictJson(decodeBase64url(header));
  } catch (cause) {
    throw new ProtocolError("MALFORMED_STAMP", "a stamp is base64url of a JSON object", { cause });
  }
  const { publicKey: keyHex, scheme, signature } = isPlainStamp(json) ? json : parseStamp(json);
  const publicKey = decodeHex(keyHex);
  const { publicKeyBytes } = STAMP_SCHEMES[scheme];
  if (publicKey.length !== publicKeyBytes) {
    throw new ProtocolError("MALFORMED_STAMP", `a public key of ${publicKey.length} bytes, expected ${publicKeyBytes}`);
  }
  return { scheme, publicKey, signature: decodeHex(signature) };
}

/** Every request has one: what surely fits the schema does not go through it. A test asks both. */
function isPlainStamp(json: unknown): json is StampJson {
  if (typeof json !== "object" || json === null || Object.keys(json).length !== 3) return false;
  const { publicKey, scheme, signature } = json as Readonly<Record<string, unknown>>;
  return isHex(publicKey) && isHex(signature) && typeof scheme === "string" && Object.hasOwn(STAMP_SCHEMES, scheme);
}

function isHex(value: unknown): boolean {
  return typeof value === "string" && value.length <= MAX_SIGNATURE_BYTES * 2 && HEX.test(value);
}

function parseStamp(json: unknown): StampJson {
  const parsed = stampJson.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ProtocolError("MALFORMED_STAMP", "a stamp has publicKey, scheme and signature, keys in hex", {
    cause: parsed.error,
  });
}
