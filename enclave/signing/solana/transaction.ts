/** A transaction as it travels: signatures, in the order of the message's signers, and the message that they sign. */
import { createPublicKey, verify } from "node:crypto";
import { RequestError } from "../../../protocol/index.ts";
import type { Ed25519Signer } from "../../wallets/signer.ts";
import { ByteReader, compactU16, malformed } from "./byte-reader.ts";
import { encodeMessage, parseMessage, type SolanaMessage } from "./message.ts";

export const SIGNATURE_BYTES = 64;
/** Of a packet: IPv6's least MTU, 1280, less headers (solana-packet, `PACKET_DATA_SIZE`). */
export const MAX_TRANSACTION_BYTES = 1232;
/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");

export interface SolanaTransaction {
  readonly message: SolanaMessage;
  /** One for each signer that the message requires; null where nobody has signed yet (64 zeros). */
  readonly signatures: readonly (Uint8Array | null)[];
}

export interface SignedSolanaTransaction {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  /** Whether all have signed who must. */
  readonly isComplete: boolean;
}

/**
 * Parses a transaction that its signers have signed in part or not at all.
 *
 * @throws {@link RequestError} `TRANSACTION_MALFORMED`, `TRANSACTION_TYPE_UNSUPPORTED`
 */
export function parseTransaction(bytes: Uint8Array): SolanaTransaction {
  if (bytes.length > MAX_TRANSACTION_BYTES) {
    throw malformed(`${bytes.length} bytes; at most ${MAX_TRANSACTION_BYTES} travel`);
  }
  const reader = new ByteReader(bytes);
  const count = reader.compactU16();
  const signatures = Array.from({ length: count }, () => signatureOrNull(reader.take(SIGNATURE_BYTES)));
  const transaction = { signatures, message: parseMessage(reader.rest()) };
  const { requiredSignatures } = transaction.message;
  if (count !== requiredSignatures) throw malformed(`${count} signatures, where ${requiredSignatures} are required`);
  if (Buffer.compare(encodeTransaction(transaction), bytes) !== 0) {
    throw malformed("not the canonical encoding of its fields");
  }
  return transaction;
}

/**
 * The place of a key among those that must sign.
 *
 * @throws {@link RequestError} `NOT_A_SIGNER`
 */
export function signerIndex({ accountKeys, requiredSignatures }: SolanaMessage, publicKey: Uint8Array): number {
  const index = accountKeys.findIndex((key) => Buffer.compare(key, publicKey) === 0);
  if (index >= 0 && index < requiredSignatures) return index;
  throw new RequestError("NOT_A_SIGNER", "the transaction asks no signature of this account");
}

/**
 * No signature of others' goes along that is not one: whoever signs last would sign for nothing.
 *
 * @throws {@link RequestError} `TRANSACTION_SIGNATURE_INVALID`
 */
export function checkSignatures({ message, signatures }: SolanaTransaction): void {
  if (signatures.every((signature) => signature === null)) return;
  const signed = encodeMessage(message);
  signatures.forEach((signature, index) => {
    const publicKey = message.accountKeys[index];
    if (signature === null || publicKey === undefined) return;
    if (!isSignature(signature, signed, publicKey)) {
      throw new RequestError(
        "TRANSACTION_SIGNATURE_INVALID",
        `signature ${index} is not its signer's over this message`,
      );
    }
  });
}

/** Signs what was parsed, and puts the signature into its place beside the others'. */
export function signTransaction(transaction: SolanaTransaction, signer: Ed25519Signer): SignedSolanaTransaction {
  const { message } = transaction;
  const own = signerIndex(message, signer.publicKey);
  const signature = signer.signMessage(encodeMessage(message));
  const signatures = transaction.signatures.map((other, index) => (index === own ? signature : other));
  return {
    bytes: encodeTransaction({ message, signatures }),
    signature,
    isComplete: signatures.every((each) => each !== null),
  };
}

function encodeTransaction({ message, signatures }: SolanaTransaction): Uint8Array {
  const slots = signatures.map((signature) => signature ?? new Uint8Array(SIGNATURE_BYTES));
  return Buffer.concat([compactU16(slots.length), ...slots, encodeMessage(message)]);
}

function signatureOrNull(bytes: Uint8Array): Uint8Array | null {
  return bytes.some((byte) => byte !== 0) ? bytes : null;
}

function isSignature(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, publicKey]), format: "der", type: "spki" });
  return verify(null, message, key, signature);
}
