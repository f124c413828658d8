/** Makes the signature section of an image, and checks what the signer gave before it goes anywhere. */
import { verify, X509Certificate } from "node:crypto";
import { EifError } from "./errors.ts";
import { pcrOfBytes } from "./measure.ts";
import {
  ALGORITHMS,
  encodeCoseSign1,
  encodeSignatureSection,
  MAX_SIGNATURE_BYTES,
  toBeSignedFor,
} from "./signature.ts";
import type { EifSigner } from "./signer.ts";

export interface SignedPcr0 {
  /** The data of the signature section. */
  readonly section: Uint8Array;
  readonly pcr8: Uint8Array;
}

/** @throws {@link EifError} `CERTIFICATE_MALFORMED`, `CERTIFICATE_KEY_MISMATCH`, `SIGNATURE_TOO_LARGE` */
export async function signPcr0(pcr0: Uint8Array, signer: EifSigner): Promise<SignedPcr0> {
  const certificate = firstCertificate(signer.certificatePem);
  const toBeSigned = toBeSignedFor(pcr0, signer.algorithm);
  const signature = await signer.sign(toBeSigned);
  // An image that is signed by another key than its certificate's does not start, and says so only on EC2.
  if (!isSignedBy(certificate, signer.algorithm, toBeSigned, signature)) {
    throw new EifError("CERTIFICATE_KEY_MISMATCH", "the signature does not verify under the certificate's key");
  }
  const section = encodeSignatureSection(
    new TextEncoder().encode(signer.certificatePem),
    encodeCoseSign1(pcr0, signer.algorithm, signature),
  );
  if (section.length > MAX_SIGNATURE_BYTES) {
    throw new EifError(
      "SIGNATURE_TOO_LARGE",
      `a signature section of ${section.length} bytes, limit ${MAX_SIGNATURE_BYTES}`,
    );
  }
  return { section, pcr8: pcrOfBytes(certificate.raw) };
}

/**
 * The certificate that PCR8 measures: the first one in the text.
 *
 * @throws {@link EifError} `CERTIFICATE_MALFORMED`
 */
export function firstCertificate(pem: string): X509Certificate {
  const [first] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(pem) ?? [];
  if (first === undefined) throw new EifError("CERTIFICATE_MALFORMED", "there is no certificate in PEM");
  try {
    const certificate = new X509Certificate(first);
    // Read here, so that nobody after this meets a key or a date that OpenSSL cannot make sense of.
    const { publicKey, validFromDate, validToDate } = certificate;
    if (publicKey.type !== "public" || Number.isNaN(validFromDate.getTime() + validToDate.getTime()))
      throw new Error("dates");
    return certificate;
  } catch (cause) {
    throw new EifError("CERTIFICATE_MALFORMED", "the certificate cannot be read", { cause });
  }
}

/** A key on another curve than the algorithm's never verifies. */
export function isSignedBy(
  certificate: X509Certificate,
  algorithm: EifSigner["algorithm"],
  toBeSigned: Uint8Array,
  signature: Uint8Array,
): boolean {
  const { curve, hash } = ALGORITHMS[algorithm];
  const key = certificate.publicKey;
  if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== curve) return false;
  return verify(hash, toBeSigned, { key, dsaEncoding: "ieee-p1363" }, signature);
}
