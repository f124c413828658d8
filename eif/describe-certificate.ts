/** A signing certificate as nitro-cli's describe-eif shows it. Nothing here is checked. */
import type { X509Certificate } from "node:crypto";

export interface DescribedCertificate {
  /** By OpenSSL's long names, sorted. */
  readonly IssuerName: Readonly<Record<string, string>>;
  readonly Algorithm: string;
  readonly NotBefore: string;
  readonly NotAfter: string;
  /** Upper-case hex with colons. */
  readonly Signature: string;
}

/** OpenSSL's objects, short name to long name: those of names that have two. The others are shown as they are. */
const LONG_NAMES: ReadonlyMap<string, string> = new Map([
  // X.520.
  ["C", "countryName"],
  ["CN", "commonName"],
  ["GN", "givenName"],
  ["L", "localityName"],
  ["O", "organizationName"],
  ["OU", "organizationalUnitName"],
  ["SN", "surname"],
  ["ST", "stateOrProvinceName"],
  ["c3", "countryCode3c"],
  ["n3", "countryCode3n"],
  ["street", "streetAddress"],
  // RFC 4524 and before it.
  ["DC", "domainComponent"],
  ["UID", "userId"],
  ["mail", "rfc822Mailbox"],
  ["uid", "uniqueIdentifier"],
  // Of extended validation.
  ["jurisdictionC", "jurisdictionCountryName"],
  ["jurisdictionL", "jurisdictionLocalityName"],
  ["jurisdictionST", "jurisdictionStateOrProvinceName"],
]);

export function describeCertificate(certificate: X509Certificate): DescribedCertificate {
  const issuer = Object.entries(certificate.toLegacyObject().issuer).map(([short, value]): [string, string] => [
    LONG_NAMES.get(short) ?? short,
    // A name may have an attribute more than once; AWS's tool shows the last.
    String(Array.isArray(value) ? value.at(-1) : value),
  ]);
  return {
    IssuerName: Object.fromEntries(issuer.sort(([a], [b]) => (a < b ? -1 : 1))),
    Algorithm: certificate.signatureAlgorithm ?? "unknown",
    NotBefore: certificate.validFrom,
    NotAfter: certificate.validTo,
    Signature: signatureOf(certificate.raw)
      .toString("hex")
      .toUpperCase()
      .replaceAll(/(..)(?=.)/g, "$1:"),
  };
}

/** RFC 5280 section 4.1: the last of three elements, a BIT STRING. OpenSSL has read all of it, so lengths are sound. */
function signatureOf(der: Buffer): Buffer {
  const content = (at: number): [from: number, end: number] => {
    const first = der[at + 1] ?? 0;
    const width = first < 0x80 ? 0 : first & 0x7f;
    const length = width === 0 ? first : der.readUIntBE(at + 2, width);
    return [at + 2 + width, at + 2 + width + length];
  };
  let [at] = content(0);
  for (let skipped = 0; skipped < 2; skipped += 1) [, at] = content(at);
  const [from, end] = content(at);
  return der.subarray(from + 1, end);
}
