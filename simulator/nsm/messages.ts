/**
 * The CBOR of /dev/nsm as AWS's own types write it (nitro.md 2.3): a variant without fields is bare text, one with fields
 * a map of one entry. Requests are read as leniently as serde_cbor does: longer heads than needed, unknown fields.
 */
import { decode, encode } from "cborg";

export type NsmErrorCode =
  | "InvalidArgument"
  | "InvalidIndex"
  | "InvalidResponse"
  | "ReadOnlyIndex"
  | "InvalidOperation"
  | "BufferTooSmall"
  | "InputTooLarge"
  | "InternalError";

export type NsmRequest =
  | { readonly kind: "DescribePCR"; readonly index: number }
  | { readonly kind: "ExtendPCR"; readonly index: number; readonly data: Uint8Array }
  | { readonly kind: "LockPCR"; readonly index: number }
  | { readonly kind: "LockPCRs"; readonly range: number }
  | { readonly kind: "DescribeNSM" }
  | { readonly kind: "GetRandom" }
  | {
      readonly kind: "Attestation";
      readonly userData: Uint8Array | null;
      readonly nonce: Uint8Array | null;
      readonly publicKey: Uint8Array | null;
    };

export type NsmResponse =
  | { readonly kind: "DescribePCR"; readonly lock: boolean; readonly data: Uint8Array }
  | { readonly kind: "ExtendPCR"; readonly data: Uint8Array }
  | { readonly kind: "LockPCR" | "LockPCRs" }
  | { readonly kind: "DescribeNSM"; readonly moduleId: string; readonly lockedPcrs: readonly number[] }
  | { readonly kind: "Attestation"; readonly document: Uint8Array }
  | { readonly kind: "GetRandom"; readonly random: Uint8Array }
  | { readonly kind: "Error"; readonly code: NsmErrorCode };

const MAX_U16 = 0xffff;

/** Null for whatever is no request: unknown variants, malformed CBOR, fields of another type. */
export function decodeNsmRequest(bytes: Uint8Array): NsmRequest | null {
  let item: unknown;
  try {
    item = decode(bytes, { useMaps: true, rejectDuplicateMapKeys: true, allowUndefined: false });
  } catch {
    return null;
  }
  if (item === "DescribeNSM" || item === "GetRandom") return { kind: item };
  if (!(item instanceof Map) || item.size !== 1) return null;
  const [[kind, fields]] = [...(item as Map<unknown, unknown>)] as [[unknown, unknown]];
  return fields instanceof Map ? readFields(kind, fields) : null;
}

function readFields(kind: unknown, fields: ReadonlyMap<unknown, unknown>): NsmRequest | null {
  const index = fields.get("index");
  switch (kind) {
    case "DescribePCR":
    case "LockPCR":
      return isU16(index) ? { kind, index } : null;
    case "ExtendPCR": {
      const data = fields.get("data");
      return isU16(index) && data instanceof Uint8Array ? { kind, index, data } : null;
    }
    case "LockPCRs": {
      const range = fields.get("range");
      return isU16(range) ? { kind, range } : null;
    }
    case "Attestation": {
      const [userData, nonce, publicKey] = ["user_data", "nonce", "public_key"].map((name) => fields.get(name) ?? null);
      if (!isBytesOrNull(userData) || !isBytesOrNull(nonce) || !isBytesOrNull(publicKey)) return null;
      return { kind, userData, nonce, publicKey };
    }
    default:
      return null;
  }
}

function isU16(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_U16;
}

function isBytesOrNull(value: unknown): value is Uint8Array | null {
  return value === null || value instanceof Uint8Array;
}

export function encodeNsmResponse(response: NsmResponse): Uint8Array<ArrayBuffer> {
  switch (response.kind) {
    case "LockPCR":
    case "LockPCRs":
      return encodeCbor(response.kind);
    case "DescribePCR":
      return encodeCbor({ DescribePCR: { lock: response.lock, data: response.data } });
    case "ExtendPCR":
      return encodeCbor({ ExtendPCR: { data: response.data } });
    case "DescribeNSM":
      return encodeCbor({ DescribeNSM: describeNsm(response.moduleId, response.lockedPcrs) });
    case "Attestation":
      return encodeCbor({ Attestation: { document: response.document } });
    case "GetRandom":
      return encodeCbor({ GetRandom: { random: response.random } });
    case "Error":
      return encodeCbor({ Error: response.code });
  }
}

/** Version 1.0.0 is QEMU's; what hardware says has not been seen. */
function describeNsm(moduleId: string, lockedPcrs: readonly number[]): object {
  return {
    version_major: 1,
    version_minor: 0,
    version_patch: 0,
    module_id: moduleId,
    max_pcrs: 32,
    locked_pcrs: lockedPcrs,
    digest: "SHA384",
  };
}

/** Keys keep the order in which they are written, as serde writes them in the order of the struct. */
export function encodeCbor(value: unknown): Uint8Array<ArrayBuffer> {
  return encode(value, { mapSorter: () => 0 });
}
