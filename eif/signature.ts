/** The signature section: certificates in PEM and a COSE_Sign1 over PCR0, as AWS's types write them (nitro.md 1.5). */
import { CborReader, CborWriter } from "./cbor.ts";
import { EifError } from "./errors.ts";
import { PCR_BYTES } from "./measure.ts";

export type EifSignatureAlgorithm = "ES256" | "ES384" | "ES512";

/** AWS's writer and QEMU both stop there. */
export const MAX_SIGNATURE_BYTES = 32_768;

interface AlgorithmFacts {
  /** RFC 9053 table 1. */
  readonly cose: number;
  /** As Node and OpenSSL name them. */
  readonly curve: string;
  readonly hash: string;
  readonly signatureBytes: number;
}

export const ALGORITHMS: Readonly<Record<EifSignatureAlgorithm, AlgorithmFacts>> = {
  ES256: { cose: -7, curve: "prime256v1", hash: "sha256", signatureBytes: 64 },
  ES384: { cose: -35, curve: "secp384r1", hash: "sha384", signatureBytes: 96 },
  ES512: { cose: -36, curve: "secp521r1", hash: "sha512", signatureBytes: 132 },
};

export function algorithmOfCurve(curve: string | undefined): EifSignatureAlgorithm | null {
  const found = Object.entries(ALGORITHMS).find(([, facts]) => facts.curve === curve);
  return found === undefined ? null : (found[0] as EifSignatureAlgorithm);
}

export interface EifSignature {
  /** PEM text as it stands in the file. */
  readonly certificatePem: string;
  readonly algorithm: EifSignatureAlgorithm;
  /** What was signed, as received: its digest is what the signature covers. */
  readonly toBeSigned: Uint8Array;
  /** The register that the payload names, and the value that it claims. */
  readonly registerIndex: number;
  readonly registerValue: Uint8Array;
  /** r ‖ s. */
  readonly signature: Uint8Array;
}

const HEADER_ALG = 1;

/** `{1: alg}`, the protected header. */
function protectedHeader(algorithm: EifSignatureAlgorithm): Uint8Array {
  return new CborWriter().map(1).unsigned(HEADER_ALG).negative(ALGORITHMS[algorithm].cose).finish();
}

/** `{"register_index": 0, "register_value": [integers]}`. */
export function encodePayload(pcr0: Uint8Array): Uint8Array {
  return new CborWriter().map(2).text("register_index").unsigned(0).text("register_value").byteArray(pcr0).finish();
}

/** RFC 9052 section 4.4, with an empty external_aad. */
function sigStructure(protectedBytes: Uint8Array, payload: Uint8Array): Uint8Array {
  const writer = new CborWriter().array(4).text("Signature1");
  return writer.bytes(protectedBytes).bytes(new Uint8Array(0)).bytes(payload).finish();
}

/** What is to be signed for an image with this PCR0. */
export function toBeSignedFor(pcr0: Uint8Array, algorithm: EifSignatureAlgorithm): Uint8Array {
  return sigStructure(protectedHeader(algorithm), encodePayload(pcr0));
}

export function encodeCoseSign1(pcr0: Uint8Array, algorithm: EifSignatureAlgorithm, signature: Uint8Array): Uint8Array {
  const writer = new CborWriter().array(4).bytes(protectedHeader(algorithm)).map(0);
  return writer.bytes(encodePayload(pcr0)).bytes(signature).finish();
}

/** The section's data. `signing_certificate` comes first: QEMU reads no other order. */
export function encodeSignatureSection(certificatePem: Uint8Array, coseSign1: Uint8Array): Uint8Array {
  const writer = new CborWriter().array(1).map(2);
  writer.text("signing_certificate").byteArray(certificatePem);
  return writer.text("signature").byteArray(coseSign1).finish();
}

/**
 * Reads a signature section. It proves nothing: no signature is checked here.
 *
 * @throws {@link EifError} `SIGNATURE_TOO_LARGE`, `SIGNATURE_MALFORMED`
 */
export function decodeSignatureSection(bytes: Uint8Array): EifSignature {
  if (bytes.length > MAX_SIGNATURE_BYTES) {
    throw new EifError(
      "SIGNATURE_TOO_LARGE",
      `a signature section of ${bytes.length} bytes, limit ${MAX_SIGNATURE_BYTES}`,
    );
  }
  const reader = new CborReader(bytes);
  demand(reader.array() === 1, "one signature");
  demand(reader.map() === 2 && reader.text() === "signing_certificate", "signing_certificate first");
  const certificate = reader.byteArray();
  demand(reader.text() === "signature", "signature second");
  const coseSign1 = reader.byteArray();
  reader.end();
  return { certificatePem: Buffer.from(certificate).toString("utf8"), ...decodeCoseSign1(coseSign1) };
}

function decodeCoseSign1(bytes: Uint8Array): Omit<EifSignature, "certificatePem"> {
  const reader = new CborReader(bytes);
  demand(reader.array() === 4, "a COSE_Sign1 of four items");
  const protectedBytes = reader.bytes();
  demand(reader.map() === 0, "an empty unprotected header");
  const payload = reader.bytes();
  const signature = reader.bytes();
  reader.end();
  const algorithm = decodeAlgorithm(protectedBytes);
  demand(signature.length === ALGORITHMS[algorithm].signatureBytes, `${algorithm}'s size of signature`);
  return { algorithm, signature, toBeSigned: sigStructure(protectedBytes, payload), ...decodePayload(payload) };
}

function decodeAlgorithm(protectedBytes: Uint8Array): EifSignatureAlgorithm {
  const reader = new CborReader(protectedBytes);
  demand(reader.map() === 1 && reader.unsigned() === HEADER_ALG, "a protected header with nothing but an algorithm");
  const number = reader.negative();
  reader.end();
  const found = Object.entries(ALGORITHMS).find(([, { cose }]) => cose === number);
  if (found === undefined)
    throw new EifError("SIGNATURE_MALFORMED", "signature section: expected ES256, ES384 or ES512");
  return found[0] as EifSignatureAlgorithm;
}

function decodePayload(payload: Uint8Array): Pick<EifSignature, "registerIndex" | "registerValue"> {
  const reader = new CborReader(payload);
  demand(reader.map() === 2 && reader.text() === "register_index", "register_index first in the payload");
  const registerIndex = reader.unsigned();
  demand(reader.text() === "register_value", "register_value second in the payload");
  const registerValue = reader.byteArray();
  reader.end();
  demand(registerValue.length === PCR_BYTES, `a register of ${PCR_BYTES} bytes`);
  return { registerIndex, registerValue };
}

function demand(holds: boolean, expected: string): asserts holds {
  if (!holds) throw new EifError("SIGNATURE_MALFORMED", `signature section: expected ${expected}`);
}
