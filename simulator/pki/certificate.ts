/** X.509 v3 certificates (RFC 5280 section 4.1), right or wrong as the caller asks. */
import { type KeyObject, sign } from "node:crypto";
import {
  bitString,
  explicit,
  integer,
  objectIdentifier,
  printableString,
  sequence,
  setOf,
  time,
  utf8String,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { type Extension, encodeExtension } from "./extensions.ts";

const ATTRIBUTE_OIDS = {
  CN: "2.5.4.3",
  C: "2.5.4.6",
  L: "2.5.4.7",
  ST: "2.5.4.8",
  O: "2.5.4.10",
  OU: "2.5.4.11",
} as const;

/** One relative distinguished name, such as `["CN", "SIMULATOR"]`. */
export type NameAttribute = readonly [type: keyof typeof ATTRIBUTE_OIDS, value: string];
/** In the order in which the certificate lists them. */
export type Name = readonly NameAttribute[];

/** RFC 5758 section 3.2; the curve goes with the hash, as in Nitro's certificates (nitro.md 3.2). */
const ALGORITHMS = {
  "ecdsa-p384-sha384": { oid: "1.2.840.10045.4.3.3", curve: "secp384r1", hash: "sha384" },
  "ecdsa-p256-sha256": { oid: "1.2.840.10045.4.3.2", curve: "prime256v1", hash: "sha256" },
} as const;

export type CertificateAlgorithm = keyof typeof ALGORITHMS;

export interface CertificateFields {
  readonly subject: Name;
  readonly issuer: Name;
  readonly serial: bigint;
  /** Unix time; certificates hold whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly subjectPublicKey: KeyObject;
  readonly issuerPrivateKey: KeyObject;
  readonly algorithm: CertificateAlgorithm;
  readonly extensions: readonly Extension[];
}

/**
 * Writes and signs one certificate.
 *
 * @returns DER.
 * @throws {@link PkiError} `KEY_NOT_FOR_ALGORITHM` if the issuer's key is not on the algorithm's curve;
 * `TIME_OUT_OF_RANGE`; `MALFORMED_OID`; `MALFORMED_VALUE` for a country that is not a PrintableString.
 */
export function issueCertificate(fields: CertificateFields): Uint8Array<ArrayBuffer> {
  const { oid, curve, hash } = ALGORITHMS[fields.algorithm];
  const keyCurve = fields.issuerPrivateKey.asymmetricKeyDetails?.namedCurve;
  if (keyCurve !== curve) {
    throw new PkiError("KEY_NOT_FOR_ALGORITHM", `${fields.algorithm} wants a key on ${curve}, got ${keyCurve}`);
  }
  const algorithm = sequence(objectIdentifier(oid));
  const tbsCertificate = sequence(
    explicit(0, integer(2)),
    integer(fields.serial),
    algorithm,
    encodeName(fields.issuer),
    sequence(time(fields.notBeforeMs), time(fields.notAfterMs)),
    encodeName(fields.subject),
    fields.subjectPublicKey.export({ type: "spki", format: "der" }),
    // Extensions ::= SEQUENCE SIZE (1..MAX): none at all means that the field is absent.
    ...(fields.extensions.length > 0 ? [explicit(3, sequence(...fields.extensions.map(encodeExtension)))] : []),
  );
  const signature = sign(hash, tbsCertificate, { key: fields.issuerPrivateKey, dsaEncoding: "der" });
  return sequence(tbsCertificate, algorithm, bitString(signature));
}

/** RFC 7468 text of one DER certificate, ending in a newline. */
export function certificateToPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function encodeName(name: Name): Uint8Array {
  return sequence(
    ...name.map(([type, value]) =>
      // RFC 5280 appendix A: countryName is a PrintableString, the others may be UTF-8.
      setOf(
        sequence(objectIdentifier(ATTRIBUTE_OIDS[type]), type === "C" ? printableString(value) : utf8String(value)),
      ),
    ),
  );
}
