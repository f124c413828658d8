/** Who signs an image: a key in a file, in KMS, or anywhere else. */
import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { EifError } from "./errors.ts";
import { firstCertificate } from "./sign-pcr0.ts";
import { ALGORITHMS, algorithmOfCurve, type EifSignatureAlgorithm } from "./signature.ts";
import { checkValidity } from "./verify-signature.ts";

export interface EifSigner {
  readonly algorithm: EifSignatureAlgorithm;
  /** PEM text, which goes into the image as it is; the first certificate in it is the one that PCR8 measures. */
  readonly certificatePem: string;
  /**
   * ECDSA over the algorithm's own digest of these bytes.
   *
   * @returns r ‖ s, each as long as the curve's order.
   */
  sign(toBeSigned: Uint8Array): Promise<Uint8Array>;
}

/**
 * What a signer must have, known before anything is asked of a key: a certificate over an EC key that is valid now.
 *
 * @throws {@link EifError} `CERTIFICATE_MALFORMED`, `CERTIFICATE_KEY_NOT_EC`, `CERTIFICATE_NOT_YET_VALID`,
 * `CERTIFICATE_EXPIRED`
 */
export function algorithmOfCertificate(certificatePem: string, nowMs: number): EifSignatureAlgorithm {
  const certificate = firstCertificate(certificatePem);
  const algorithm = algorithmOfCurve(certificate.publicKey.asymmetricKeyDetails?.namedCurve);
  if (algorithm === null) {
    throw new EifError("CERTIFICATE_KEY_NOT_EC", "an image is signed with a key on P-256, P-384 or P-521");
  }
  checkValidity(certificate, nowMs);
  return algorithm;
}

/**
 * Signs with a key in PEM.
 *
 * @throws {@link EifError} as {@link algorithmOfCertificate}, and `PRIVATE_KEY_UNREADABLE`, `CERTIFICATE_KEY_MISMATCH`
 */
export function createKeyFileSigner(certificatePem: string, privateKeyPem: string, nowMs: number): EifSigner {
  const algorithm = algorithmOfCertificate(certificatePem, nowMs);
  const key = readPrivateKey(privateKeyPem);
  if (!firstCertificate(certificatePem).checkPrivateKey(key)) {
    throw new EifError("CERTIFICATE_KEY_MISMATCH", "the private key is not the certificate's");
  }
  return {
    algorithm,
    certificatePem,
    sign: async (toBeSigned) => sign(ALGORITHMS[algorithm].hash, toBeSigned, { key, dsaEncoding: "ieee-p1363" }),
  };
}

function readPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // Without the cause: nobody knows what every version of OpenSSL quotes.
    throw new EifError("PRIVATE_KEY_UNREADABLE", "the private key is not in PEM, or is encrypted");
  }
}
