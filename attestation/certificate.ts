/**
 * X.509 v3 (RFC 5280) certificates as the Nitro hypervisor's authorities issue them: P-384 keys, ecdsa-with-SHA384.
 * Everything else is refused here, so that no later step has to think of it.
 */
import { type Bytes, concatBytes, equalBytes } from "./bytes.ts";
import { DerReader, malformed, TAG } from "./der.ts";
import { AttestationError } from "./errors.ts";

export interface Certificate {
  /** The bytes under the signature, as received. */
  readonly tbs: Bytes;
  /** r ‖ s, as WebCrypto wants it. */
  readonly signature: Bytes;
  /** DER of the names, compared byte for byte. */
  readonly issuer: Bytes;
  readonly subject: Bytes;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SEC 1 uncompressed point, 97 bytes. */
  readonly publicKey: Bytes;
  readonly serial: Bytes;
  /** Null where the certificate has none. */
  readonly basicConstraints: BasicConstraints | null;
  readonly keyUsage: KeyUsage | null;
  /** Critical, and nothing that this verifier acts on. */
  readonly hasUnknownCriticalExtension: boolean;
}

export interface BasicConstraints {
  readonly critical: boolean;
  readonly ca: boolean;
  readonly pathLength: number | null;
}

export interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
}

/** SEQUENCE { OID ecdsa-with-SHA384 } (RFC 5758 section 3.2: no parameters). */
const ECDSA_WITH_SHA384 = Uint8Array.of(0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03);
/** RFC 5480 section 2: id-ecPublicKey, secp384r1, then a BIT STRING of one uncompressed point. */
const P384_SPKI_HEAD = Uint8Array.of(
  ...[0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
  ...[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04],
);
const P384_BYTES = 48;
const P384_SPKI_BYTES = P384_SPKI_HEAD.length + 2 * P384_BYTES;

/** RFC 5280 section 4.1.2.2. */
const MAX_SERIAL_BYTES = 20;
/** RFC 5280 sections 4.2.1.9 and 4.2.1.3. */
const OID_BASIC_CONSTRAINTS = Uint8Array.of(0x55, 0x1d, 0x13);
const OID_KEY_USAGE = Uint8Array.of(0x55, 0x1d, 0x0f);

/**
 * Reads one certificate. It proves nothing: no signature is checked here.
 *
 * @throws {@link AttestationError} `CERTIFICATE_MALFORMED`, `CERTIFICATE_ALGORITHM`, `CERTIFICATE_KEY`
 */
export function decodeCertificate(der: Bytes): Certificate {
  const outer = new DerReader(der);
  const certificate = outer.enter(TAG.SEQUENCE);
  outer.end();
  const tbs = certificate.readWhole(TAG.SEQUENCE);
  checkAlgorithm(certificate.readWhole(TAG.SEQUENCE));
  const signature = rawSignature(bitString(certificate.read(TAG.BIT_STRING)));
  certificate.end();

  const fields = new DerReader(tbs).enter(TAG.SEQUENCE);
  checkVersion(fields.enter(TAG.CONTEXT_0));
  const serial = fields.readUnsigned(MAX_SERIAL_BYTES);
  checkAlgorithm(fields.readWhole(TAG.SEQUENCE));
  const issuer = nameOf(fields);
  const validity = fields.enter(TAG.SEQUENCE);
  const notBeforeMs = timeOf(validity);
  const notAfterMs = timeOf(validity);
  validity.end();
  const subject = nameOf(fields);
  const publicKey = p384Point(fields.readWhole(TAG.SEQUENCE));
  // issuerUniqueID and subjectUniqueID may stand here by the grammar; RFC 5280 section 4.1.2.8 forbids writing them.
  const extensions = fields.hasMore ? readExtensions(fields.enter(TAG.CONTEXT_3)) : NO_EXTENSIONS;
  fields.end();

  return { tbs, signature, issuer, subject, notBeforeMs, notAfterMs, publicKey, serial, ...extensions };
}

function checkVersion(reader: DerReader): void {
  const [version] = reader.readUnsigned(1);
  reader.end();
  if (version !== 2) throw malformed("version 3", "another");
}

function checkAlgorithm(der: Bytes): void {
  if (!equalBytes(der, ECDSA_WITH_SHA384)) {
    throw new AttestationError("CERTIFICATE_ALGORITHM", "a certificate signed by ecdsa-with-SHA384", "another");
  }
}

/** RFC 3279 section 2.2.3: SEQUENCE { r INTEGER, s INTEGER }. */
function rawSignature(der: Bytes): Bytes {
  const outer = new DerReader(der);
  const signature = outer.enter(TAG.SEQUENCE);
  outer.end();
  const r = signature.readUnsigned(P384_BYTES);
  const s = signature.readUnsigned(P384_BYTES);
  signature.end();
  return concatBytes([new Uint8Array(P384_BYTES - r.length), r, new Uint8Array(P384_BYTES - s.length), s]);
}

/** Content of a BIT STRING that is whole bytes. */
function bitString(content: Bytes): Bytes {
  if (content[0] !== 0) throw malformed("a BIT STRING of whole bytes", "another");
  return content.subarray(1);
}

/** An empty name would let any certificate without one be the issuer (RFC 5280 section 4.1.2.4). */
function nameOf(reader: DerReader): Bytes {
  const name = reader.readWhole(TAG.SEQUENCE);
  if (name.length <= 2) throw malformed("a name", "an empty one");
  return name;
}

/** RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, both with seconds and `Z`. */
function timeOf(reader: DerReader): number {
  const isUtcTime = reader.nextIs(TAG.UTC_TIME);
  const content = reader.read(isUtcTime ? TAG.UTC_TIME : TAG.GENERALIZED_TIME);
  const text = String.fromCharCode(...content);
  const match = /^([0-9]{2,4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(text);
  const [yearDigits = "", month = "", day = "", hour = "", minute = "", second = ""] = match?.slice(1) ?? [];
  if (yearDigits.length !== (isUtcTime ? 2 : 4)) throw malformed("a time with seconds and Z", "another form");
  const year = isUtcTime ? Number(yearDigits) + (Number(yearDigits) < 50 ? 2000 : 1900) : Number(yearDigits);
  if (!isUtcTime && year < 2050) throw malformed("UTCTime through 2049", "GeneralizedTime");
  const iso = `${String(year).padStart(4, "0")}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // Some engines roll 30 February over into March: what is shown again must be what was read.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) throw malformed("a date that exists", "another");
  return ms;
}

/** The key's curve is fixed here and not taken from the certificate. WebCrypto checks that the point is on it. */
function p384Point(spki: Bytes): Bytes {
  if (spki.length !== P384_SPKI_BYTES || !equalBytes(spki.subarray(0, P384_SPKI_HEAD.length), P384_SPKI_HEAD)) {
    throw new AttestationError("CERTIFICATE_KEY", "an uncompressed P-384 key", "another");
  }
  return spki.subarray(P384_SPKI_HEAD.length - 1);
}

type Extensions = Pick<Certificate, "basicConstraints" | "keyUsage" | "hasUnknownCriticalExtension">;
const NO_EXTENSIONS: Extensions = { basicConstraints: null, keyUsage: null, hasUnknownCriticalExtension: false };

function readExtensions(wrapper: DerReader): Extensions {
  const list = wrapper.enter(TAG.SEQUENCE);
  wrapper.end();
  const seen: Bytes[] = [];
  let { basicConstraints, keyUsage, hasUnknownCriticalExtension } = NO_EXTENSIONS;
  if (!list.hasMore) throw malformed("an extension", "an empty list");
  while (list.hasMore) {
    const extension = list.enter(TAG.SEQUENCE);
    const oid = extension.read(TAG.OID);
    const critical = extension.readOptionalTrue();
    const value = new DerReader(extension.read(TAG.OCTET_STRING));
    extension.end();
    if (seen.some((other) => equalBytes(other, oid))) throw malformed("each extension once", "one twice");
    seen.push(oid);
    if (equalBytes(oid, OID_BASIC_CONSTRAINTS)) basicConstraints = readBasicConstraints(value, critical);
    else if (equalBytes(oid, OID_KEY_USAGE)) keyUsage = readKeyUsage(value);
    else if (critical) hasUnknownCriticalExtension = true;
  }
  return { basicConstraints, keyUsage, hasUnknownCriticalExtension };
}

function readBasicConstraints(value: DerReader, critical: boolean): BasicConstraints {
  const fields = value.enter(TAG.SEQUENCE);
  value.end();
  const ca = fields.readOptionalTrue();
  const pathLength = fields.hasMore ? (fields.readUnsigned(1)[0] ?? 0) : null;
  fields.end();
  return { critical, ca, pathLength };
}

/** A BIT STRING whose bit 0, digitalSignature, is the highest of its first byte; keyCertSign is bit 5. */
function readKeyUsage(value: DerReader): KeyUsage {
  const content = value.read(TAG.BIT_STRING);
  value.end();
  const [unusedBits = 8, first = 0] = content;
  const last = content.at(-1) ?? 0;
  // X.690 11.2.2: a named-bit list ends in a one; RFC 5280 asks for one at least.
  if (content.length < 2 || content.length > 3 || unusedBits > 7 || ((last >> unusedBits) & 1) !== 1) {
    throw malformed("keyUsage as a named-bit list", "another BIT STRING");
  }
  if ((last & ((1 << unusedBits) - 1)) !== 0) throw malformed("unused bits of zero", "others");
  return { digitalSignature: (first & 0x80) !== 0, keyCertSign: (first & 0x04) !== 0 };
}
