/** Who asks: users with a key and wallets each, who come and go; and the issuer that vouches for their logins. */
import { createHash, generateKeyPairSync, hash, type KeyObject, randomBytes, sign } from "node:crypto";
import { publicKeyOf, signRecoverable } from "../../enclave/signing/secp256k1.ts";
import { encodeHex, encodeStamp, type StampScheme } from "../../protocol/index.ts";

export const ISSUER = "https://issuer.invalid";
export const AUDIENCE = "soak";

export interface SoakKey {
  readonly scheme: StampScheme;
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly sign: (body: Uint8Array) => Uint8Array;
}

export interface Caller {
  /** An app's. */
  readonly audience: string;
  readonly subject: string;
  key: SoakKey;
  userId: string;
  sessionId: string;
  readonly wallets: string[];
  /** From then on it may be told that its session is over. */
  endsAtMs: number;
  isRevoked: boolean;
}

/** Of the three schemes, most of the quickest: this process pays for stamping as well. */
export function newKey(at: number): SoakKey {
  switch (at % 6) {
    case 1: {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const spki = publicKey.export({ type: "spki", format: "der" });
      const compressed = Buffer.concat([Buffer.of(2 + ((spki.at(-1) ?? 0) & 1)), spki.subarray(-64, -32)]);
      return {
        scheme: "SIGNATURE_SCHEME_TK_API_P256",
        publicKey: Uint8Array.from(compressed),
        sign: (body) => sign("sha256", body, privateKey),
      };
    }
    case 2: {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      return {
        scheme: "SIGNATURE_SCHEME_TK_API_ED25519",
        publicKey: Uint8Array.from(publicKey.export({ type: "spki", format: "der" }).subarray(-32)),
        sign: (body) => sign(null, body, privateKey),
      };
    }
    default: {
      const privateKey = randomBytes(32);
      return {
        scheme: "SIGNATURE_SCHEME_TK_API_SECP256K1",
        publicKey: Uint8Array.from(publicKeyOf(privateKey, true)),
        sign: (body) => derOf(signRecoverable(hash("sha256", body, "buffer"), privateKey).rs),
      };
    }
  }
}

/** As it comes off a wire: in one piece. */
export function stampOf({ scheme, publicKey, sign: signBy }: SoakKey, body: Uint8Array): string {
  const stamp = encodeStamp({ scheme, publicKey, signature: Uint8Array.from(signBy(body)) });
  return Buffer.from(stamp, "latin1").toString("latin1");
}

/** ES256, by node:crypto: a token costs as little as it can. */
export class SoakIssuer {
  readonly #key: KeyObject;
  readonly #keySet: unknown;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    this.#keySet = { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "soak", alg: "ES256", use: "sig" }] };
  }

  readonly fetchJson = async (): Promise<unknown> => this.#keySet;

  token(subject: string, key: SoakKey, nowMs: number): string {
    const nonce = createHash("sha256").update(encodeHex(key.publicKey)).digest("hex");
    const iat = Math.floor(nowMs / 1000);
    const parts = [
      { alg: "ES256", kid: "soak" },
      { iss: ISSUER, sub: subject, aud: AUDIENCE, iat, exp: iat + 3600, nonce },
    ];
    const head = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const signature = sign("sha256", Buffer.from(head), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${head}.${signature.toString("base64url")}`;
  }
}

/** RFC 3279, 2.2.3. */
function derOf(rs: Uint8Array): Uint8Array {
  const integers = [rs.subarray(0, 32), rs.subarray(32)].map((bytes) => {
    let from = 0;
    while (from < 31 && bytes[from] === 0) from += 1;
    const short = bytes.subarray(from);
    const lead = (short[0] ?? 0) > 127 ? [0] : [];
    return Uint8Array.of(2, short.length + lead.length, ...lead, ...short);
  });
  const length = integers.reduce((sum, { length: each }) => sum + each, 0);
  return Uint8Array.of(0x30, length, ...integers.flatMap((each) => [...each]));
}
