/** COSE_Sign1 (RFC 9052 section 4.2) as the Nitro hypervisor writes it. */
import { type Bytes, concatBytes } from "./bytes.ts";
import { type CborValue, decodeCbor } from "./cbor.ts";
import { AttestationError } from "./errors.ts";

/** AWS sets no limit; real documents are 4.5 to 5.2 kB, and aws-nitro-enclaves-sdk-c reserves this much. */
export const MAX_DOCUMENT_BYTES = 16 * 1024;
/** r ‖ s, each as long as the P-384 group order (RFC 9053 section 2.1). */
const ES384_SIGNATURE_BYTES = 96;

/** RFC 9053 table 1. The only algorithm accepted, whatever the header or the certificate say. */
const ES384 = -35;
/** RFC 9052 table 3. */
const HEADER_ALG = 1;
const HEADER_CRIT = 2;
/** Tag 18, COSE_Sign1: NitroTPM documents carry it, enclave documents do not (nitro.md 3.1). */
const COSE_SIGN1_TAG = 0xd2;
/** The Sig_structure up to its byte strings: array(4), "Signature1". */
const SIGNATURE1 = Uint8Array.of(0x84, 0x6a, ...new TextEncoder().encode("Signature1"));

/** Slices of the input, kept as received: the signature covers these exact bytes. */
export interface CoseSign1 {
  readonly protectedBytes: Bytes;
  readonly payloadBytes: Bytes;
  readonly signature: Bytes;
}

/**
 * Steps 1 and 2.
 *
 * @throws {@link AttestationError} `INPUT_TOO_LARGE`, `CBOR_*`, `NOT_COSE_SIGN1`, `HEADER_MALFORMED`,
 * `ALGORITHM_NOT_ALLOWED`, `CRITICAL_HEADER`, `SIGNATURE_LENGTH`
 */
export function decodeCoseSign1(bytes: Bytes): CoseSign1 {
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw new AttestationError("INPUT_TOO_LARGE", `at most ${MAX_DOCUMENT_BYTES} bytes`, `${bytes.length}`);
  }
  const item = decodeCbor(bytes[0] === COSE_SIGN1_TAG ? bytes.subarray(1) : bytes);
  if (!Array.isArray(item) || item.length !== 4) {
    throw new AttestationError("NOT_COSE_SIGN1", "an array of 4", "another item");
  }
  const [protectedBytes, unprotectedHeader, payloadBytes, signature] = item as readonly CborValue[];
  if (
    !(protectedBytes instanceof Uint8Array) ||
    !(unprotectedHeader instanceof Map) ||
    !(payloadBytes instanceof Uint8Array) ||
    !(signature instanceof Uint8Array)
  ) {
    throw new AttestationError("NOT_COSE_SIGN1", "byte string, map, byte string, byte string", "other types");
  }
  checkProtectedHeader(protectedBytes);
  if (signature.length !== ES384_SIGNATURE_BYTES) {
    throw new AttestationError("SIGNATURE_LENGTH", `${ES384_SIGNATURE_BYTES} bytes`, `${signature.length}`);
  }
  return { protectedBytes, payloadBytes, signature };
}

function checkProtectedHeader(bytes: Bytes): void {
  // RFC 9052 section 3: no bytes at all stand for an empty map, which names no algorithm.
  const header = bytes.length === 0 ? new Map() : decodeCbor(bytes);
  if (!(header instanceof Map)) throw new AttestationError("HEADER_MALFORMED", "a protected map", "another item");
  if (header.get(HEADER_ALG) !== ES384) {
    throw new AttestationError("ALGORITHM_NOT_ALLOWED", `algorithm ${ES384} (ES384)`, "another or none");
  }
  if (header.has(HEADER_CRIT)) {
    throw new AttestationError("CRITICAL_HEADER", "no critical headers", "a crit entry");
  }
}

/**
 * The bytes under the signature (RFC 9052 section 4.4), with an empty external_aad. Heads are minimal, as those
 * received were checked to be.
 */
export function sigStructure({ protectedBytes, payloadBytes }: CoseSign1): Bytes {
  return concatBytes([
    SIGNATURE1,
    byteStringHead(protectedBytes.length),
    protectedBytes,
    byteStringHead(0),
    byteStringHead(payloadBytes.length),
    payloadBytes,
  ]);
}

/** Lengths here are bounded by {@link MAX_DOCUMENT_BYTES}, so two bytes are enough. */
function byteStringHead(length: number): Bytes {
  if (length < 24) return Uint8Array.of(0x40 | length);
  if (length < 0x100) return Uint8Array.of(0x58, length);
  return Uint8Array.of(0x59, length >> 8, length & 0xff);
}
