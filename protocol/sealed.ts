/**
 * Sealed requests: what whoever relays one cannot read. RFC 9180 in base mode (X25519, HKDF-SHA256, AES-256-GCM) to the
 * sealing key of an attestation document; the answer comes back under a key that only the two ends can derive (RFC 9458,
 * 4.4, in the same way). Both ends run this file: in browsers, in Node, by WebCrypto.
 */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke";
import { type AttestedKeys, encodeAttestedKeys } from "./attested-keys.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { MAX_BODY_BYTES } from "./limits.ts";
import { stampHeaders } from "./messages.ts";
import { pad, unpad } from "./padding.ts";
import { bytesUpTo, z } from "./zod.ts";

const REQUEST_LABEL = "cloister/sealed-request/v1";
const ANSWER_LABEL = "cloister/sealed-answer/v1";
const VERSION = 1;
const KEY_ID_BYTES = 8;
const ENCAPSULATED_BYTES = 32;
const ANSWER_NONCE_BYTES = 32;
const KEY_BITS = 256;
const NONCE_BITS = 96;

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);

/** What is sealed: a request as it would have been sent in the open, its stamps with it. */
const sealedRequest = z.strictObject({ stamps: stampHeaders, body: bytesUpTo(MAX_BODY_BYTES) });
const sealedAnswer = z.strictObject({
  status: z.int().check(z.minimum(100), z.maximum(599)),
  body: bytesUpTo(1024 * 1024),
  /** Ed25519, as in the open. */
  signature: bytesUpTo(64),
});
export type SealedRequestParts = z.output<typeof sealedRequest>;
export type SealedAnswerParts = z.output<typeof sealedAnswer>;

/** The outside of a sealed request: all that is read before it is opened, and all of it is authenticated. */
export interface SealedHead {
  /** Which boot's keys: {@link keyIdOf}. */
  readonly keyId: Uint8Array;
  readonly audience: string;
  readonly encapsulated: Uint8Array;
  readonly ciphertext: Uint8Array;
  /** What comes before the ciphertext. */
  readonly bytes: Uint8Array;
}

type Derive = (context: Uint8Array, length: number) => Promise<Uint8Array>;

/** Names a boot's keys: enough to tell an enclave that was started anew from a message that was changed. */
export async function keyIdOf(keys: AttestedKeys): Promise<Uint8Array> {
  const digest = await crypto.subtle.digest("SHA-256", encodeAttestedKeys(keys));
  return new Uint8Array(digest).subarray(0, KEY_ID_BYTES);
}

/**
 * Seals one request.
 *
 * @param audience - Of the request; it stands outside as well, and inside must say the same.
 * @returns What to send, and the one way to read what comes back.
 */
export async function sealRequest(
  keys: AttestedKeys,
  audience: string,
  request: SealedRequestParts,
): Promise<{
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** @throws {@link ProtocolError} `MALFORMED_SEALED`, `SEALED_ANSWER_INVALID`, `MALFORMED_MESSAGE` */
  readonly openAnswer: (bytes: Uint8Array) => Promise<SealedAnswerParts>;
}> {
  const publicKey = await suite.DeserializePublicKey(Uint8Array.from(keys.sealingKey));
  const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info: infoOf(audience, keys) });
  const head = encodeHead(await keyIdOf(keys), audience, encapsulatedSecret);
  const ciphertext = await ctx.Seal(pad(encodeCbor({ stamps: request.stamps, body: request.body })), head);
  const derive: Derive = (context, length) => ctx.Export(context, length);
  return {
    bytes: concat(head, ciphertext),
    openAnswer: (bytes) => openAnswer(derive, encapsulatedSecret, bytes),
  };
}

/** @throws {@link ProtocolError} `MALFORMED_SEALED` */
export function decodeSealed(bytes: Uint8Array): SealedHead {
  const audienceAt = 1 + KEY_ID_BYTES + ENCAPSULATED_BYTES + 2;
  if (bytes.length < audienceAt || bytes[0] !== VERSION) throw malformed();
  const audienceBytes = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint16(audienceAt - 2);
  const ciphertext = bytes.subarray(audienceAt + audienceBytes);
  const audience = new TextDecoder().decode(bytes.subarray(audienceAt, audienceAt + audienceBytes));
  if (!/^[\x21-\x7e]{1,256}$/.test(audience) || ciphertext.length === 0) throw malformed();
  return {
    keyId: bytes.subarray(1, 1 + KEY_ID_BYTES),
    encapsulated: bytes.subarray(1 + KEY_ID_BYTES, audienceAt - 2),
    audience,
    ciphertext,
    bytes: bytes.subarray(0, audienceAt + audienceBytes),
  };
}

/**
 * Opens one request, in the enclave.
 *
 * @throws {@link ProtocolError} `SEALED_REQUEST_INVALID` for what was not sealed to this key under this head;
 *   `MALFORMED_SEALED`, `MALFORMED_MESSAGE`
 */
export async function openRequest(
  keys: AttestedKeys,
  pair: CryptoKeyPair,
  head: SealedHead,
): Promise<{
  readonly request: SealedRequestParts;
  /** @param nonce - 32 random bytes, new for each answer: a request that is shown twice is answered twice. */
  readonly sealAnswer: (answer: SealedAnswerParts, nonce: Uint8Array) => Promise<Uint8Array<ArrayBuffer>>;
}> {
  const encapsulated = Uint8Array.from(head.encapsulated);
  const { plaintext, derive } = await open(keys, pair, head, encapsulated);
  return {
    request: decodeCbor(sealedRequest, unpad(plaintext)),
    sealAnswer: (answer, nonce) => sealAnswer(derive, encapsulated, answer, Uint8Array.from(nonce)),
  };
}

async function open(keys: AttestedKeys, pair: CryptoKeyPair, head: SealedHead, encapsulated: Uint8Array) {
  try {
    const ctx = await suite.SetupRecipient(pair, encapsulated, { info: infoOf(head.audience, keys) });
    const plaintext = await ctx.Open(head.ciphertext, head.bytes);
    const derive: Derive = (context, length) => ctx.Export(context, length);
    return { plaintext, derive };
  } catch (cause) {
    throw new ProtocolError("SEALED_REQUEST_INVALID", "not sealed to this key for this audience", { cause });
  }
}

async function sealAnswer(
  derive: Derive,
  encapsulated: Uint8Array,
  { status, body, signature }: SealedAnswerParts,
  nonce: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const { key, iv } = await answerKeyOf(derive, encapsulated, nonce);
  const padded = pad(encodeCbor({ status, body, signature }));
  const ciphertext = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, padded);
  return concat(Uint8Array.of(VERSION), nonce, new Uint8Array(ciphertext));
}

async function openAnswer(derive: Derive, encapsulated: Uint8Array, bytes: Uint8Array): Promise<SealedAnswerParts> {
  if (bytes.length <= 1 + ANSWER_NONCE_BYTES || bytes[0] !== VERSION) throw malformed();
  const nonce = Uint8Array.from(bytes.subarray(1, 1 + ANSWER_NONCE_BYTES));
  const { key, iv } = await answerKeyOf(derive, encapsulated, nonce);
  let padded: ArrayBuffer;
  try {
    const ciphertext = Uint8Array.from(bytes.subarray(1 + ANSWER_NONCE_BYTES));
    padded = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, ciphertext);
  } catch (cause) {
    throw new ProtocolError("SEALED_ANSWER_INVALID", "not the answer to this request", { cause });
  }
  return decodeCbor(sealedAnswer, unpad(new Uint8Array(padded)));
}

/** RFC 9458, 4.4: the exported secret, salted with the encapsulated key and the answer's own nonce. */
async function answerKeyOf(
  derive: Derive,
  encapsulated: Uint8Array,
  nonce: Uint8Array,
): Promise<{ readonly key: CryptoKey; readonly iv: ArrayBuffer }> {
  const secret = Uint8Array.from(await derive(new TextEncoder().encode(ANSWER_LABEL), KEY_BITS / 8));
  const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const salt = concat(encapsulated, nonce);
  const bits = (info: string, length: number) =>
    crypto.subtle.deriveBits(
      { name: "HKDF", hash: "SHA-256", salt, info: new TextEncoder().encode(info) },
      base,
      length,
    );
  const [key, iv] = await Promise.all([bits("key", KEY_BITS), bits("nonce", NONCE_BITS)]);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), iv };
}

/** A request that is opened with another boot's key, or for another audience, does not open. */
function infoOf(audience: string, { answerKey }: AttestedKeys): Uint8Array {
  const label = new TextEncoder().encode(REQUEST_LABEL);
  return concat(label, lengthPrefixed(audience), answerKey);
}

function encodeHead(keyId: Uint8Array, audience: string, encapsulated: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(Uint8Array.of(VERSION), keyId, encapsulated, lengthPrefixed(audience));
}

function lengthPrefixed(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const length = new Uint8Array(2);
  new DataView(length.buffer).setUint16(0, bytes.length);
  return concat(length, bytes);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function malformed(): ProtocolError {
  return new ProtocolError("MALFORMED_SEALED", "not a sealed message of this version");
}
