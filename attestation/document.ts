/** The payload of an attestation document (AWS, "Verifying the root of trust", and nitro.md 3.1). */
import type { Bytes } from "./bytes.ts";
import { type CborMap, type CborValue, decodeCbor } from "./cbor.ts";
import { AttestationError } from "./errors.ts";

/** aws-nitro-enclaves-nsm-api, docs/attestation_process.md 2.2: `index = 0..31`. */
export const MAX_PCR_INDEX = 31;
/** SHA-384, the only digest in use. */
export const PCR_BYTES = 48;
/** Same document: `cert = bytes .size (1..1024)`. */
export const MAX_CERTIFICATE_BYTES = 1024;
/** Same document: `user_data = bytes .size (0..1024)`; covers nonce and public_key too. */
export const MAX_FIELD_BYTES = 1024;
/** AWS's bundles hold 4. Each costs a signature check, so the list is bounded before any is made. */
const MAX_CABUNDLE_CERTIFICATES = 8;
/** The last millisecond that a JavaScript Date can show (ECMA-262, 21.4.1.1). */
export const MAX_DATE_MS = 8.64e15;

/** What a document says, whoever wrote it. Nothing may be released to its `publicKey`, or believed of its PCRs. */
export interface UnverifiedAttestation {
  /** `i-<instance>-enc<id>` */
  readonly moduleId: string;
  readonly digest: "SHA384";
  /** Milliseconds since 1970, by the hypervisor's clock. */
  readonly timestampMs: number;
  /** Index to 48 bytes. Only locked registers are listed; absent is not zero. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** DER of the leaf. */
  readonly certificate: Uint8Array;
  /** DER, root first. */
  readonly cabundle: readonly Uint8Array[];
  /** Null where the enclave gave none; an empty one is empty. */
  readonly publicKey: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}

/** The same, with the memory that WebCrypto needs. */
export interface DecodedDocument extends UnverifiedAttestation {
  readonly certificate: Bytes;
  readonly cabundle: readonly Bytes[];
}

/**
 * Step 3. Unknown text keys are ignored, as AWS adds some; what is known must have its type and size.
 *
 * @throws {@link AttestationError} `CBOR_*`, `FIELD_*`, `DIGEST_NOT_SUPPORTED`, `TIMESTAMP_OUT_OF_RANGE`, `PCR_*`,
 * `CABUNDLE_LENGTH`
 */
export function decodeDocument(payload: Bytes): DecodedDocument {
  const map = decodeCbor(payload);
  if (!(map instanceof Map)) throw new AttestationError("FIELD_TYPE", "a map as payload", "another item");
  for (const key of map.keys()) {
    if (typeof key !== "string") throw new AttestationError("FIELD_TYPE", "text keys in the payload", "another key");
  }
  return {
    moduleId: moduleIdOf(map),
    digest: digestOf(map),
    timestampMs: timestampOf(map),
    pcrs: pcrsOf(map),
    certificate: certificateBytes(required(map, "certificate"), "certificate"),
    cabundle: cabundleOf(map),
    publicKey: optionalBytes(map, "public_key", 1),
    userData: optionalBytes(map, "user_data", 0),
    nonce: optionalBytes(map, "nonce", 0),
  };
}

function moduleIdOf(map: CborMap): string {
  const value = required(map, "module_id");
  if (typeof value !== "string") throw wrongType("module_id", "text");
  if (value.length === 0) throw new AttestationError("FIELD_LENGTH", "a module_id", "an empty one");
  return value;
}

function digestOf(map: CborMap): "SHA384" {
  const value = required(map, "digest");
  if (typeof value !== "string") throw wrongType("digest", "text");
  if (value !== "SHA384") throw new AttestationError("DIGEST_NOT_SUPPORTED", "digest SHA384", "another");
  return value;
}

function timestampOf(map: CborMap): number {
  const value = required(map, "timestamp");
  if (typeof value !== "number" && typeof value !== "bigint") throw wrongType("timestamp", "an integer");
  if (typeof value === "bigint" || value <= 0 || value > MAX_DATE_MS) {
    throw new AttestationError("TIMESTAMP_OUT_OF_RANGE", "milliseconds after 1970 that are a date", "none");
  }
  return value;
}

function pcrsOf(map: CborMap): ReadonlyMap<number, Bytes> {
  const value = required(map, "pcrs");
  if (!(value instanceof Map)) throw wrongType("pcrs", "a map");
  const entries: CborMap = value;
  if (entries.size < 1 || entries.size > MAX_PCR_INDEX + 1) {
    throw new AttestationError("PCR_COUNT", `1 to ${MAX_PCR_INDEX + 1} PCRs`, `${entries.size}`);
  }
  const pcrs = new Map<number, Bytes>();
  for (const [index, pcr] of entries) {
    if (typeof index !== "number" || index < 0 || index > MAX_PCR_INDEX) {
      throw new AttestationError("PCR_INDEX", `PCR indices 0 to ${MAX_PCR_INDEX}`, "another key");
    }
    if (!(pcr instanceof Uint8Array)) throw wrongType("pcrs", "byte strings as values");
    if (pcr.length !== PCR_BYTES) {
      throw new AttestationError("PCR_LENGTH", `PCRs of ${PCR_BYTES} bytes under SHA384`, `one of ${pcr.length}`);
    }
    pcrs.set(index, pcr.slice());
  }
  return pcrs;
}

function cabundleOf(map: CborMap): readonly Bytes[] {
  const value = required(map, "cabundle");
  if (!Array.isArray(value)) throw wrongType("cabundle", "an array");
  if (value.length < 1 || value.length > MAX_CABUNDLE_CERTIFICATES) {
    throw new AttestationError("CABUNDLE_LENGTH", `1 to ${MAX_CABUNDLE_CERTIFICATES} in cabundle`, `${value.length}`);
  }
  return value.map((item: CborValue) => certificateBytes(item, "cabundle"));
}

function certificateBytes(value: CborValue, field: string): Bytes {
  if (!(value instanceof Uint8Array)) throw wrongType(field, "a byte string");
  return sized(value, field, 1, MAX_CERTIFICATE_BYTES);
}

/** AWS writes null for a field that was not given; its text allows the key to be missing. */
function optionalBytes(map: CborMap, field: string, minBytes: number): Bytes | null {
  const value = map.get(field) ?? null;
  if (value === null) return null;
  if (!(value instanceof Uint8Array)) throw wrongType(field, "a byte string or null");
  // Copies, here and of PCRs: whoever takes the `buffer` of a field gets that field and not the whole document.
  return sized(value, field, minBytes, MAX_FIELD_BYTES).slice();
}

function required(map: CborMap, field: string): CborValue {
  const value = map.get(field);
  if (value === undefined) throw new AttestationError("FIELD_MISSING", `the field ${field}`, "none");
  return value;
}

function sized(value: Bytes, field: string, minBytes: number, maxBytes: number): Bytes {
  if (value.length < minBytes || value.length > maxBytes) {
    throw new AttestationError("FIELD_LENGTH", `${field} of ${minBytes} to ${maxBytes} bytes`, `${value.length}`);
  }
  return value;
}

function wrongType(field: string, expected: string): AttestationError {
  return new AttestationError("FIELD_TYPE", `${field} as ${expected}`, "another type");
}
