import { generateKeyPairSync } from "node:crypto";
import { decode, encode } from "cborg";
import { createNsmPki, createSimulatedNsm, type NsmPki } from "../../../simulator/nsm/index.ts";

export const PCR0 = Buffer.alloc(48, 0xa0);
export const PCR3 = Buffer.alloc(48, 0xa3);
export const PCR8 = Buffer.alloc(48, 0xa8);
export const PCRS: ReadonlyMap<number, Uint8Array> = new Map([
  [0, PCR0],
  [1, Buffer.alloc(48, 0xa1)],
  [2, Buffer.alloc(48, 0xa2)],
  [3, PCR3],
  [8, PCR8],
]);
const MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef";

/** RSA-2048, as the enclave makes one for each request. */
export const recipient = generateKeyPairSync("rsa", { modulusLength: 2048 });
export const recipientSpki = spkiOf(recipient.publicKey);

export function spkiOf(key: ReturnType<typeof generateKeyPairSync>["publicKey"] & object): Uint8Array {
  return (key as typeof recipient.publicKey).export({ type: "spki", format: "der" });
}

export function pkiAt(nowMs: number): NsmPki {
  return createNsmPki({ nowMs: () => nowMs });
}

/** A document from the simulated module, asked for in the module's own CBOR. */
export async function documentOf(options: {
  readonly pki: NsmPki;
  readonly atMs: number;
  readonly pcrs?: ReadonlyMap<number, Uint8Array>;
  readonly publicKey?: Uint8Array | null;
}): Promise<Uint8Array> {
  const { pki, atMs, pcrs = PCRS, publicKey = recipientSpki } = options;
  const nsm = createSimulatedNsm({ pki, pcrs, moduleId: MODULE_ID, nowMs: () => atMs });
  const request = encode({ Attestation: { user_data: null, nonce: null, public_key: publicKey } });
  const response = decode(await nsm.handle(request)) as { readonly Attestation: { readonly document: Uint8Array } };
  return response.Attestation.document;
}
