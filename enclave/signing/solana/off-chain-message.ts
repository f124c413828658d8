/**
 * Messages that are no transactions, in two forms. Off-chain messages (anza, "Off-Chain Message Signing", version 0) have a
 * head whose first byte no transaction's message begins with. Wallets' `signMessage` signs a text as it is: here one that
 * begins as no transaction can.
 */
import { RequestError } from "../../../protocol/index.ts";
import { address } from "./address.ts";
import { ADDRESS_BYTES } from "./message.ts";

/** 0xff, "solana offchain". */
const SIGNING_DOMAIN = Buffer.from("\xffsolana offchain", "latin1");
/** Domain, version, application domain, format, number of signers. */
const HEAD_BYTES = 16 + 1 + 32 + 1 + 1;
/** Formats 0 and 1, with the head: what a hardware wallet takes. */
const MAX_SHORT_BYTES = 1232;

const FORMATS = [
  { name: "restricted ASCII", isShort: true, isAscii: true },
  { name: "UTF-8", isShort: true, isAscii: false },
  { name: "long UTF-8", isShort: false, isAscii: false },
] as const;

export interface SolanaTextMessage {
  readonly form: "off-chain" | "text";
  /** UTF-8, without the head. */
  readonly text: Uint8Array;
  readonly applicationDomain: string | null;
  /** Null where the message names none: anybody may sign a text. */
  readonly signers: readonly Uint8Array[] | null;
}

/**
 * @param bytes - All that is signed: an off-chain message with its head, or a text.
 * @throws {@link RequestError} `MESSAGE_MALFORMED`
 */
export function parseTextMessage(bytes: Uint8Array): SolanaTextMessage {
  if (bytes[0] === SIGNING_DOMAIN[0]) return parseOffChain(bytes);
  // A legacy message begins with the number of its signatures, of which 19 at most fit into a packet; a versioned one with
  // 0x80 and its version. No UTF-8 begins with 0x80 to 0xc1: a text that begins as below is no transaction of a version under 66.
  const [first = 0] = bytes;
  if (first < 0x20 || first === 0x7f) throw malformed("it begins with a control character, as transactions do");
  checkUtf8(bytes);
  return { form: "text", text: bytes, applicationDomain: null, signers: null };
}

/** @throws {@link RequestError} `NOT_A_SIGNER` */
export function checkSigner({ signers }: SolanaTextMessage, publicKey: Uint8Array): void {
  if (signers === null || signers.some((signer) => Buffer.compare(signer, publicKey) === 0)) return;
  throw new RequestError("NOT_A_SIGNER", "the message does not name this account among its signers");
}

function parseOffChain(bytes: Uint8Array): SolanaTextMessage {
  const domainBytes = SIGNING_DOMAIN.length;
  if (Buffer.compare(bytes.subarray(0, domainBytes), SIGNING_DOMAIN) !== 0) throw malformed("another signing domain");
  const version = bytes[domainBytes];
  if (version !== 0) throw malformed(`version ${version}; expected 0`);
  const format = FORMATS[bytes[HEAD_BYTES - 2] ?? FORMATS.length];
  const signerCount = bytes[HEAD_BYTES - 1] ?? 0;
  const textAt = HEAD_BYTES + signerCount * ADDRESS_BYTES + 2;
  if (format === undefined || bytes.length < textAt) throw malformed("its head is not whole, or of no known format");
  const signers = Array.from({ length: signerCount }, (_, index) =>
    addressAt(bytes, HEAD_BYTES + index * ADDRESS_BYTES),
  );
  const text = bytes.subarray(textAt);
  const length = (bytes[textAt - 2] ?? 0) | ((bytes[textAt - 1] ?? 0) << 8);
  if (signerCount === 0) throw malformed("nobody is to sign it");
  if (new Set(signers.map(address)).size !== signerCount) throw malformed("a signer twice");
  if (length !== text.length) throw malformed(`${text.length} bytes of text, where ${length} are announced`);
  if (length === 0) throw malformed("no text");
  if (format.isShort && bytes.length > MAX_SHORT_BYTES)
    throw malformed(`over ${MAX_SHORT_BYTES} bytes of ${format.name}`);
  if (format.isAscii && text.some((byte) => byte < 0x20 || byte > 0x7e)) throw malformed(`not ${format.name}`);
  checkUtf8(text);
  const applicationDomain = address(addressAt(bytes, domainBytes + 1));
  return { form: "off-chain", text, applicationDomain, signers };
}

function addressAt(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.subarray(at, at + ADDRESS_BYTES);
}

function checkUtf8(bytes: Uint8Array): void {
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new RequestError("MESSAGE_MALFORMED", "not UTF-8", { cause });
  }
}

function malformed(why: string): RequestError {
  return new RequestError("MESSAGE_MALFORMED", why);
}
