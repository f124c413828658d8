/**
 * `CiphertextForRecipient`: CMS EnvelopedData (RFC 5652 section 6) in BER, tag for tag as AWS KMS sends it
 * (nitro.md 4.3, from two genuine captures). Like AWS's, it is not authenticated.
 */
import { constants, createCipheriv, createHash, type KeyObject, publicEncrypt, randomBytes } from "node:crypto";
import { der } from "../pki/index.ts";

/** Genuine replies have their content in constructed octet strings (the older) or in a primitive one (the newer). */
export type EnvelopeShape = "constructed" | "primitive";

const OID = {
  data: "1.2.840.113549.1.7.1",
  envelopedData: "1.2.840.113549.1.7.3",
  rsaesOaep: "1.2.840.113549.1.1.7",
  mgf1: "1.2.840.113549.1.1.8",
  sha256: "2.16.840.1.101.3.4.2.1",
  aes256Cbc: "2.16.840.1.101.3.4.1.42",
} as const;

const SEQUENCE_TAG = 0x30;
const SET_TAG = 0x31;
/** Longer content comes in several octet strings, which the format allows and readers must join. */
const MAX_OCTET_STRING_BYTES = 1000;

/**
 * @param recipient - RSA; RSAES-OAEP with SHA-256, MGF1 with SHA-256 and the empty label.
 * @param plaintext - May be empty: one block of padding then.
 */
export function sealEnvelope(
  recipient: KeyObject,
  plaintext: Uint8Array,
  shape: EnvelopeShape,
): Uint8Array<ArrayBuffer> {
  const contentKey = randomBytes(32);
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", contentKey, iv);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  const encryptedKey = publicEncrypt(
    { key: recipient, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" },
    contentKey,
  );
  contentKey.fill(0);

  // How KMS derives these 32 bytes is not known; recipients ignore them.
  const keyIdentifier = createHash("sha256")
    .update(recipient.export({ type: "spki", format: "der" }))
    .digest();
  const recipientInfo = der.sequence(
    der.integer(2),
    der.implicit(0, keyIdentifier),
    oaepAlgorithm(),
    der.octetString(encryptedKey),
  );
  const encryptedContentInfo = der.indefinite(
    SEQUENCE_TAG,
    der.objectIdentifier(OID.data),
    der.sequence(der.objectIdentifier(OID.aes256Cbc), der.octetString(iv)),
    shape === "primitive" ? der.implicit(0, ciphertext) : der.indefinite(der.explicitTag(0), ...chunks(ciphertext)),
  );
  // The captures spend three octets on the length of this SET, as they must for RSA-2048; DER writes the same.
  const envelopedData = der.indefinite(
    SEQUENCE_TAG,
    der.integer(2),
    der.element(SET_TAG, recipientInfo),
    encryptedContentInfo,
  );
  return der.indefinite(
    SEQUENCE_TAG,
    der.objectIdentifier(OID.envelopedData),
    der.indefinite(der.explicitTag(0), envelopedData),
  );
}

function oaepAlgorithm(): Uint8Array {
  const sha256 = der.sequence(der.objectIdentifier(OID.sha256), der.nothing());
  return der.sequence(
    der.objectIdentifier(OID.rsaesOaep),
    der.sequence(der.explicit(0, sha256), der.explicit(1, der.sequence(der.objectIdentifier(OID.mgf1), sha256))),
  );
}

function chunks(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += MAX_OCTET_STRING_BYTES) {
    parts.push(der.octetString(bytes.subarray(at, at + MAX_OCTET_STRING_BYTES)));
  }
  return parts;
}
