/** Certificates for people. Nothing here is checked, and nothing may be decided by it. */
import { type Bytes, equalBytes } from "./bytes.ts";
import { decodeCertificate } from "./certificate.ts";
import { DerReader, TAG } from "./der.ts";

export interface UnverifiedCertificate {
  /** Such as `CN=aws.nitro-enclaves`; types other than the usual six are left out. */
  readonly subject: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isAuthority: boolean;
  readonly pathLength: number | null;
}

/** RFC 4519 section 2; the last byte of 2.5.4.x. */
const ATTRIBUTE_NAMES: ReadonlyMap<number, string> = new Map([
  [3, "CN"],
  [6, "C"],
  [7, "L"],
  [8, "ST"],
  [10, "O"],
  [11, "OU"],
]);
const OID_ATTRIBUTE = Uint8Array.of(0x55, 0x04);

/**
 * Reads one certificate of a document for showing it.
 *
 * @throws {@link AttestationError} `CERTIFICATE_MALFORMED`, `CERTIFICATE_ALGORITHM`, `CERTIFICATE_KEY`
 */
export function describeUnverifiedCertificate(der: Uint8Array): UnverifiedCertificate {
  const { subject, notBeforeMs, notAfterMs, basicConstraints } = decodeCertificate(new Uint8Array(der));
  return {
    subject: describeName(subject),
    notBeforeMs,
    notAfterMs,
    isAuthority: basicConstraints?.ca ?? false,
    pathLength: basicConstraints?.pathLength ?? null,
  };
}

/** Text is shown as UTF-8 whatever its string type says: a wrong one gives a wrong letter, on a screen. */
function describeName(name: Bytes): string[] {
  const sets = new DerReader(name).enter(TAG.SEQUENCE);
  const described: string[] = [];
  while (sets.hasMore) {
    const attributes = sets.enter(TAG.SET);
    while (attributes.hasMore) {
      const attribute = attributes.enter(TAG.SEQUENCE);
      const oid = attribute.read(TAG.OID);
      const text = attribute.nextIs(TAG.PRINTABLE_STRING) ? TAG.PRINTABLE_STRING : TAG.UTF8_STRING;
      const type = equalBytes(oid.subarray(0, 2), OID_ATTRIBUTE) ? ATTRIBUTE_NAMES.get(oid[2] ?? 0) : undefined;
      if (type === undefined || !attribute.nextIs(text)) continue;
      described.push(`${type}=${new TextDecoder().decode(attribute.read(text))}`);
    }
  }
  return described;
}
