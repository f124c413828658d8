/** Keys that stamp requests, by WebCrypto: the same in browsers and Node, and private halves need not be exportable. */
import { encodeStamp, type StampScheme } from "../protocol/index.ts";
import type { PasskeyStampKey } from "./passkeys.ts";

export interface StampKey {
  readonly scheme: StampScheme;
  /** Compressed point, 33 bytes, or Ed25519's 32. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** The signature in the form that a stamp carries (DER for ECDSA). */
  sign(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** Whatever stamps. */
export type Stamper = StampKey | PasskeyStampKey;

/** One stamp of each, in the order in which they travel: a passkey's comes last. */
export async function stampsOf(stampers: readonly Stamper[], body: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const keys = stampers.filter((stamper) => !isPasskey(stamper));
  const stamps: string[] = [];
  // One after another: two questions to the user at once would be one too many.
  for (const stamper of [...keys, ...stampers.filter(isPasskey)]) {
    stamps.push(await stampOf(stamper, body));
  }
  return stamps;
}

async function stampOf(stamper: Stamper, body: Uint8Array<ArrayBuffer>): Promise<string> {
  if (isPasskey(stamper)) return stamper.stamp(body);
  const { scheme, publicKey } = stamper;
  return encodeStamp({ scheme, publicKey, signature: await stamper.sign(body) });
}

export function isPasskey(stamper: Stamper | undefined): stamper is PasskeyStampKey {
  return stamper !== undefined && "stamp" in stamper;
}

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;

/** Makes a P-256 key whose private half cannot be exported. To keep one, make the pair yourself: {@link stampKeyOf}. */
export async function generateStampKey(): Promise<StampKey> {
  return stampKeyOf(await generateStampPair(false));
}

/** @param extractable - Of the private half: true only where it is to be kept as bytes. */
export function generateStampPair(extractable: boolean): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(P256, extractable, ["sign", "verify"]);
}

/** A stamp key over a P-256 key pair that the caller keeps. */
export async function stampKeyOf({ publicKey, privateKey }: CryptoKeyPair): Promise<StampKey> {
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  return {
    scheme: "SIGNATURE_SCHEME_TK_API_P256",
    publicKey: compressPoint(point),
    async sign(body) {
      const raw = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, body);
      return derSignature(new Uint8Array(raw));
    },
  };
}

/**
 * A stamp key of a P-256 private key that is kept as JWK (RFC 7517), such as a kept simulator's administrator's.
 *
 * @throws DOMException or TypeError for what is no private P-256 key.
 */
export async function stampKeyFromJwk(jwk: JsonWebKey): Promise<StampKey> {
  const { kty, crv, x, y, d } = jwk;
  const publicPart = { kty, crv, x, y } as JsonWebKey;
  return stampKeyOf({
    privateKey: await crypto.subtle.importKey("jwk", { ...publicPart, d } as JsonWebKey, P256, false, ["sign"]),
    publicKey: await crypto.subtle.importKey("jwk", publicPart, P256, true, ["verify"]),
  });
}

/** 0x04 ‖ x ‖ y → 0x02 or 0x03 ‖ x (SEC 1, 2.3.3). */
function compressPoint(point: Uint8Array): Uint8Array<ArrayBuffer> {
  const compressed = new Uint8Array(33);
  compressed[0] = 2 + ((point[64] ?? 0) & 1);
  compressed.set(point.subarray(1, 33), 1);
  return compressed;
}

/** WebCrypto gives r ‖ s; stamps carry SEQUENCE { INTEGER r, INTEGER s } (RFC 3279, 2.2.3). */
function derSignature(rs: Uint8Array): Uint8Array<ArrayBuffer> {
  const integers = [derInteger(rs.subarray(0, 32)), derInteger(rs.subarray(32))];
  const body = integers.flatMap((integer) => [...integer]);
  return Uint8Array.of(0x30, body.length, ...body);
}

function derInteger(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const digits = bytes.subarray(start);
  // A set high bit would make the number negative.
  const pad = (digits[0] ?? 0) >= 0x80 ? [0] : [];
  return Uint8Array.of(0x02, digits.length + pad.length, ...pad, ...digits);
}
