/**
 * Opens `CiphertextForRecipient`: CMS EnvelopedData (RFC 5652, section 6) in the one shape that KMS sends
 * (nitro.md 4.3). It is not authenticated: a changed byte may give another plaintext without any error. What vouches
 * for it is TLS to KMS, which ends in this enclave, and the authenticated message that the plaintext must then open.
 */
import { constants, createDecipheriv, type KeyObject, privateDecrypt } from "node:crypto";
import { StartError } from "../errors.ts";
import { type BerElement, decodeBer, octets } from "./ber.ts";

/** AWS KMS API, `CiphertextForRecipient`. */
const MAX_BYTES = 6144;

const INTEGER = 0x02;
const OCTET_STRING = 0x04;
const NULL = 0x05;
const OBJECT_IDENTIFIER = 0x06;
const SEQUENCE = 0x30;
const SET = 0x31;
const IMPLICIT_0 = 0x80;
const EXPLICIT_0 = 0xa0;
const EXPLICIT_1 = 0xa1;

/** DER contents of the object identifiers. */
const OID = {
  envelopedData: "2a864886f70d010703",
  data: "2a864886f70d010701",
  rsaesOaep: "2a864886f70d010107",
  mgf1: "2a864886f70d010108",
  sha256: "608648016503040201",
  aes256Cbc: "60864801650304012a",
} as const;

/**
 * @param ber - As KMS sent it.
 * @param recipientKey - RSA-2048, the key whose public half was in the attestation document of this very request.
 * @returns The plaintext; the caller wipes it.
 * @throws {@link StartError} `KMS_REPLY_INVALID`, the same words whatever failed.
 */
export function openCiphertextForRecipient(ber: Uint8Array, recipientKey: KeyObject): Uint8Array {
  try {
    if (ber.length > MAX_BYTES) throw new Error(`${ber.length} bytes, limit ${MAX_BYTES}`);
    const { encryptedKey, iv, ciphertext } = parseEnvelope(ber);
    const contentKey = privateDecrypt(
      { key: recipientKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" },
      encryptedKey,
    );
    try {
      const decipher = createDecipheriv("aes-256-cbc", contentKey, iv);
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    } finally {
      contentKey.fill(0);
    }
  } catch (cause) {
    throw new StartError("KMS_REPLY_INVALID", "CiphertextForRecipient cannot be opened", { cause });
  }
}

export interface Envelope {
  readonly encryptedKey: Uint8Array;
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** Reads the envelope and checks every identifier in it. Throws a plain error that says what was expected. */
export function parseEnvelope(ber: Uint8Array): Envelope {
  const [contentType, content] = children(decodeBer(ber), SEQUENCE, 2);
  oid(contentType, OID.envelopedData);
  const [enveloped] = children(content, EXPLICIT_0, 1);
  const [version, recipients, encrypted] = children(enveloped, SEQUENCE, 3);
  two(version);
  const [recipient] = children(recipients, SET, 1);

  const [recipientVersion, keyIdentifier, keyAlgorithm, encryptedKey] = children(recipient, SEQUENCE, 4);
  two(recipientVersion);
  // Which hash of the key this is, AWS does not say; there is one recipient, so nothing hangs on it.
  octets(keyIdentifier, IMPLICIT_0);
  checkOaepSha256(keyAlgorithm);

  const [dataType, contentAlgorithm, ciphertext] = children(encrypted, SEQUENCE, 3);
  oid(dataType, OID.data);
  const [cipher, iv] = children(contentAlgorithm, SEQUENCE, 2);
  oid(cipher, OID.aes256Cbc);
  return {
    encryptedKey: primitive(encryptedKey, OCTET_STRING, 256),
    iv: primitive(iv, OCTET_STRING, 16),
    ciphertext: octets(ciphertext, IMPLICIT_0),
  };
}

/** RFC 8017, A.2.1, with SHA-256 twice and no pSourceAlgorithm: the empty label. */
function checkOaepSha256(element: BerElement): void {
  const [algorithm, parameters] = children(element, SEQUENCE, 2);
  oid(algorithm, OID.rsaesOaep);
  const [hash, maskGeneration] = children(parameters, SEQUENCE, 2);
  checkSha256(children(hash, EXPLICIT_0, 1)[0]);
  const [mask, maskHash] = children(children(maskGeneration, EXPLICIT_1, 1)[0], SEQUENCE, 2);
  oid(mask, OID.mgf1);
  checkSha256(maskHash);
}

function checkSha256(element: BerElement): void {
  const [algorithm, parameters] = children(element, SEQUENCE, 2);
  oid(algorithm, OID.sha256);
  primitive(parameters, NULL, 0);
}

type Children<Count extends number, Found extends BerElement[] = []> = Found["length"] extends Count
  ? Found
  : Children<Count, [...Found, BerElement]>;

function children<Count extends number>(element: BerElement, tag: number, count: Count): Children<Count> {
  if (element.tag !== tag) throw new Error(`tag ${element.tag}, expected ${tag}`);
  if (element.children.length !== count) throw new Error(`${element.children.length} parts, expected ${count}`);
  return element.children as BerElement[] as Children<Count>;
}

function primitive(element: BerElement, tag: number, length: number): Uint8Array {
  if (element.tag !== tag) throw new Error(`tag ${element.tag}, expected ${tag}`);
  if (element.content.length !== length) throw new Error(`${element.content.length} bytes, expected ${length}`);
  return element.content;
}

function oid(element: BerElement, expected: string): void {
  const found = Buffer.from(primitive(element, OBJECT_IDENTIFIER, expected.length / 2)).toString("hex");
  if (found !== expected) throw new Error(`object identifier ${found}, expected ${expected}`);
}

function two(element: BerElement): void {
  if (primitive(element, INTEGER, 1)[0] !== 2) throw new Error("a version other than 2");
}
