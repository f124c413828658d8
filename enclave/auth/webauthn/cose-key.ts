/** A credential's public key: COSE_Key (RFC 9052, 7; WebAuthn 6.5.1) to what OpenSSL verifies with. */
import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import type { CborMap } from "./ctap-cbor.ts";
import { type PasskeyAlgorithm, refuse } from "./rules.ts";

export interface PasskeyKey {
  readonly algorithm: PasskeyAlgorithm;
  readonly key: KeyObject;
}

/** RFC 9052, 7.1 and RFC 9053, 7: labels of a key's parameters. */
const KTY = 1;
const ALG = 3;
const CRV_OR_N = -1;
const X_OR_E = -2;
const Y = -3;

/** RFC 9053, 2.1 and 2.2; RFC 8812, 2. */
const ALGORITHMS: ReadonlyMap<unknown, PasskeyAlgorithm> = new Map([
  [-7, "ES256"],
  [-8, "EdDSA"],
  [-257, "RS256"],
]);

/** NIST SP 800-131A, and the most that a browser's authenticator makes. */
const MIN_RSA_BYTES = 256;
const MAX_RSA_BYTES = 512;
/** 65537, RFC 8017: the one that authenticators use. */
const RSA_EXPONENT = "AQAB";

/** @throws {@link RequestError} `PASSKEY_ALGORITHM_NOT_ALLOWED`, `PASSKEY_MALFORMED` */
export function parseCoseKey(cose: CborMap): PasskeyKey {
  const algorithm = ALGORITHMS.get(cose.get(ALG));
  if (algorithm === undefined) {
    throw refuse("PASSKEY_ALGORITHM_NOT_ALLOWED", "expected a key for ES256, EdDSA or RS256");
  }
  const jwk = jwkOf(algorithm, cose);
  try {
    return { algorithm, key: createPublicKey({ key: jwk, format: "jwk" }) };
  } catch (cause) {
    throw refuse("PASSKEY_MALFORMED", `the credential's key is no ${algorithm} key`, cause);
  }
}

function jwkOf(algorithm: PasskeyAlgorithm, cose: CborMap): JsonWebKey {
  switch (algorithm) {
    case "ES256": {
      // EC2 on P-256, both coordinates: WebAuthn wants the uncompressed point.
      expectLabels(cose, [KTY, ALG, CRV_OR_N, X_OR_E, Y], { [KTY]: 2, [CRV_OR_N]: 1 });
      return { kty: "EC", crv: "P-256", x: text(cose, X_OR_E, 32), y: text(cose, Y, 32) };
    }
    case "EdDSA": {
      // OKP on Ed25519; Ed448 has the same algorithm number.
      expectLabels(cose, [KTY, ALG, CRV_OR_N, X_OR_E], { [KTY]: 1, [CRV_OR_N]: 6 });
      return { kty: "OKP", crv: "Ed25519", x: text(cose, X_OR_E, 32) };
    }
    case "RS256": {
      expectLabels(cose, [KTY, ALG, CRV_OR_N, X_OR_E], { [KTY]: 3 });
      const n = cose.get(CRV_OR_N);
      const isSized = n instanceof Uint8Array && n.length >= MIN_RSA_BYTES && n.length <= MAX_RSA_BYTES;
      if (!isSized || (n[0] ?? 0) < 0x80 || text(cose, X_OR_E, 3) !== RSA_EXPONENT) {
        throw refuse("PASSKEY_MALFORMED", "expected an RSA key of 2048 to 4096 bits with the exponent 65537");
      }
      return { kty: "RSA", n: Buffer.from(n).toString("base64url"), e: RSA_EXPONENT };
    }
  }
}

/** WebAuthn 6.5.1: the key has no optional parameters, so anything more is not an authenticator's. */
function expectLabels(cose: CborMap, labels: readonly number[], values: Readonly<Record<number, number>>): void {
  const isExact = cose.size === labels.length && labels.every((label) => cose.has(label));
  if (!isExact || Object.entries(values).some(([label, value]) => cose.get(Number(label)) !== value)) {
    throw refuse("PASSKEY_MALFORMED", "the credential's key has other parameters than its algorithm asks for");
  }
}

function text(cose: CborMap, label: number, length: number): string {
  const bytes = cose.get(label);
  if (!(bytes instanceof Uint8Array) || bytes.length !== length) {
    throw refuse("PASSKEY_MALFORMED", `the credential's key: expected ${length} bytes at label ${label}`);
  }
  return Buffer.from(bytes).toString("base64url");
}
