/** Signatures of callers over request bodies. Every key here is public; what must be constant-time is elsewhere. */
import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";
import { encodeHex, STAMP_SCHEMES, type Stamp, type StampScheme } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";
import { uncompressed, verifyDer } from "../signing/secp256k1.ts";

/** SubjectPublicKeyInfo (RFC 5480, RFC 8410) up to the key's own bytes. */
const SPKI_HEAD: Readonly<Record<Exclude<StampScheme, "SIGNATURE_SCHEME_TK_API_SECP256K1">, Buffer>> = {
  SIGNATURE_SCHEME_TK_API_P256: Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex"),
  SIGNATURE_SCHEME_TK_API_ED25519: Buffer.from("302a300506032b6570032100", "hex"),
};

/** Importing a key costs as much as a verification: sessions ask again and again with the same one. */
const MAX_CACHED_KEYS = 10_000;

export class StampVerifier {
  readonly #keys = new RecencyMap<string, KeyObject>(MAX_CACHED_KEYS);
  /** Points with their y, which libsecp256k1 would take a root for at each verification: an eighth of it. */
  readonly #points = new RecencyMap<string, Uint8Array>(MAX_CACHED_KEYS);

  /** True if the stamp's signature is its key's over these exact bytes. */
  verify(stamp: Stamp, body: Uint8Array): boolean {
    // OpenSSL ignores bytes after a key: without this one key would have many spellings, and each its own session.
    if (stamp.publicKey.length !== STAMP_SCHEMES[stamp.scheme].publicKeyBytes) return false;
    switch (stamp.scheme) {
      case "SIGNATURE_SCHEME_TK_API_P256":
      case "SIGNATURE_SCHEME_TK_API_ED25519": {
        const key = this.#keyOf(stamp.scheme, stamp.publicKey);
        const digest = stamp.scheme === "SIGNATURE_SCHEME_TK_API_P256" ? "sha256" : null;
        return key !== undefined && verify(digest, body, key, stamp.signature);
      }
      case "SIGNATURE_SCHEME_TK_API_SECP256K1": {
        const point = this.#pointOf(stamp.publicKey);
        return point !== undefined && verifyDer(hash("sha256", body, "buffer"), stamp.signature, point);
      }
    }
  }

  #keyOf(scheme: keyof typeof SPKI_HEAD, publicKey: Uint8Array): KeyObject | undefined {
    return imported(this.#keys, scheme + encodeHex(publicKey), () =>
      createPublicKey({ key: Buffer.concat([SPKI_HEAD[scheme], publicKey]), format: "der", type: "spki" }),
    );
  }

  #pointOf(publicKey: Uint8Array): Uint8Array | undefined {
    return imported(this.#points, encodeHex(publicKey), () => uncompressed(publicKey));
  }
}

/** From a cache, or by `make`, which throws for what is no key: then undefined. */
function imported<Key>(cache: RecencyMap<string, Key>, id: string, make: () => Key): Key | undefined {
  const cached = cache.use(id);
  if (cached !== undefined) return cached;
  let key: Key;
  try {
    key = make();
  } catch {
    return undefined;
  }
  cache.set(id, key);
  return key;
}
