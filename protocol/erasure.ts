/** What an enclave says of a user whom it has erased: a JSON text, signed by the vault's event key. */
import { ProtocolError } from "./errors.ts";
import { parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

const erasure = z.strictObject({
  v: z.literal(1),
  deployment: z.string(),
  appId: z.string(),
  userId: z.string(),
  /** By the enclave's clock. */
  erasedAtMs: z.int(),
  /** How many records of each kind there were. */
  records: z.strictObject({
    wallets: z.int(),
    events: z.int(),
    identities: z.int(),
    sessions: z.int(),
    passkeys: z.int(),
  }),
});
export type Erasure = z.output<typeof erasure>;

export const erasureReceipt = z.strictObject({
  /** The JSON text: what is signed. */
  receipt: z.string().check(z.maxLength(2048)),
  /** Ed25519, hex. */
  signature: z.string().check(z.regex(/^[0-9a-f]{128}$/)),
  /** The vault's event key, hex. */
  publicKey: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});
export type ErasureReceipt = z.output<typeof erasureReceipt>;

const CONTEXT = "cloister/erasure/v1\n";

/** What the vault's event key signs. */
export function erasureSigningInput(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(CONTEXT + text);
}

/** The receipt's text; the order of its members is fixed so that fixtures are. */
export function encodeErasure({ v, deployment, appId, userId, erasedAtMs, records }: Erasure): string {
  const { wallets, events, identities, sessions, passkeys } = records;
  const counts = { wallets, events, identities, sessions, passkeys };
  return JSON.stringify({ v, deployment, appId, userId, erasedAtMs, records: counts });
}

/** @throws {@link ProtocolError} `MALFORMED_MESSAGE` */
export function decodeErasure(text: string): Erasure {
  try {
    return erasure.parse(parseStrictJson(new TextEncoder().encode(text)));
  } catch (cause) {
    throw new ProtocolError("MALFORMED_MESSAGE", "not a receipt", { cause });
  }
}
