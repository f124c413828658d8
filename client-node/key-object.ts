/** Stamp keys by node:crypto: every scheme that stamps know, and twice as fast as WebCrypto's. */
import { createPublicKey, type KeyObject, sign } from "node:crypto";
import type { StampKey } from "../client/index.ts";
import type { StampScheme } from "../protocol/index.ts";

/**
 * @param privateKey - P-256, secp256k1 or Ed25519.
 * @throws TypeError for a key of another kind.
 */
export function stampKeyFromKeyObject(privateKey: KeyObject): StampKey {
  const scheme = schemeOf(privateKey);
  const isEd25519 = scheme === "SIGNATURE_SCHEME_TK_API_ED25519";
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  // The last bytes of SubjectPublicKeyInfo are the key: RFC 8410's 32, or an uncompressed point's x and y.
  const publicKey = isEd25519 ? spki.subarray(-32) : compressed(spki.subarray(-64));
  return {
    scheme,
    publicKey: Uint8Array.from(publicKey),
    sign: async (body) => Uint8Array.from(sign(isEd25519 ? null : "sha256", body, privateKey)),
  };
}

function schemeOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): StampScheme {
  if (asymmetricKeyType === "ed25519") return "SIGNATURE_SCHEME_TK_API_ED25519";
  if (asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === "prime256v1") {
    return "SIGNATURE_SCHEME_TK_API_P256";
  }
  if (asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === "secp256k1") {
    return "SIGNATURE_SCHEME_TK_API_SECP256K1";
  }
  throw new TypeError("expected a private key on P-256, secp256k1 or Ed25519");
}

/** SEC 1, 2.3.3. */
function compressed(xy: Uint8Array): Uint8Array {
  return Uint8Array.of(2 + ((xy[63] ?? 0) & 1), ...xy.subarray(0, 32));
}
