/** Attestation documents as the hypervisor writes them (nitro.md 3.1). */
import { type KeyObject, sign } from "node:crypto";
import { encodeCbor } from "./messages.ts";

export interface DocumentFields {
  readonly moduleId: string;
  readonly timestampMs: number;
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** DER. */
  readonly certificate: Uint8Array;
  /** DER, root first. */
  readonly cabundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | null;
  readonly userData: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}

/** { 1: -35 }: ES384. */
export const ES384_HEADER: Uint8Array = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

/** The payload, in the hypervisor's order of keys, absent fields as null. */
export function encodeDocumentPayload(fields: DocumentFields): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<string, unknown>([
      ["module_id", fields.moduleId],
      ["digest", "SHA384"],
      ["timestamp", fields.timestampMs],
      ["pcrs", new Map(fields.pcrs)],
      ["certificate", fields.certificate],
      ["cabundle", fields.cabundle],
      ["public_key", fields.publicKey],
      ["user_data", fields.userData],
      ["nonce", fields.nonce],
    ]),
  );
}

/** COSE_Sign1 without tag, over any payload: tests sign wrong ones too. */
export function signCoseSign1(
  payload: Uint8Array,
  leafKey: KeyObject,
  protectedHeader = ES384_HEADER,
): Uint8Array<ArrayBuffer> {
  const toBeSigned = encodeCbor(["Signature1", protectedHeader, new Uint8Array(0), payload]);
  const signature = sign("sha384", toBeSigned, { key: leafKey, dsaEncoding: "ieee-p1363" });
  return encodeCbor([protectedHeader, new Map(), payload, signature]);
}
