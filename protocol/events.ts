/**
 * A user's events: what changed how the account is reached, and what became of its wallets, in a chain that the enclave
 * signs with a key of its vault.
 * Each is a JSON text that names the digest of the one before, so that none can be left out, changed or moved.
 */
import { ProtocolError } from "./errors.ts";
import { parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

const EVENT_KINDS = [
  "passkey-registered",
  "passkey-removed",
  "totp-confirmed",
  "totp-disabled",
  "totp-required",
  "recovery-codes-made",
  "recovery-code-used",
  "identity-linked",
  "identity-unlinked",
  "wallet-split",
  "wallet-recovered",
  "wallet-reshared",
  "wallet-created",
  "wallets-created",
  "accounts-created",
  "wallet-imported",
  "wallet-exported",
  "wallet-deleted",
  "policy-set",
  "policy-reset",
  "approval-given",
  "approval-rejected",
  "approval-collected",
] as const;

const digest = z.string().check(z.regex(/^[0-9a-f]{64}$/));

const event = z.strictObject({
  v: z.literal(1),
  deployment: z.string(),
  appId: z.string(),
  userId: z.string(),
  /** From 1. */
  seq: z.int().check(z.minimum(1)),
  /** By the enclave's clock. */
  atMs: z.int(),
  kind: z.enum(EVENT_KINDS),
  /** Whose request it was: a session's or a passkey's id. */
  by: z.string(),
  details: z.record(z.string(), z.string()),
  /** SHA-256 of the text of the event before, hex; zeros in the first. */
  previous: digest,
});
export type UserEvent = z.output<typeof event>;
export type EventKind = UserEvent["kind"];

export const MAX_EVENT_BYTES = 4096;
export const listedEvent = z.strictObject({
  /** The JSON text: what is digested and signed. */
  event: z.string().check(z.maxLength(MAX_EVENT_BYTES)),
  /** Ed25519, hex. */
  signature: z.string().check(z.regex(/^[0-9a-f]{128}$/)),
});
export type ListedEvent = z.output<typeof listedEvent>;

export const FIRST_PREVIOUS = "0".repeat(64);

const CONTEXT = "cloister/event/v1\n";

/** What the vault's event key signs. */
export function eventSigningInput(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(CONTEXT + text);
}

/** The event's text; the order of its members is fixed so that fixtures are. */
export function encodeEvent(value: UserEvent): string {
  const { v, deployment, appId, userId, seq, atMs, kind, by, details, previous } = value;
  return JSON.stringify({ v, deployment, appId, userId, seq, atMs, kind, by, details, previous });
}

/** @throws {@link ProtocolError} `MALFORMED_MESSAGE` */
export function decodeEvent(text: string): UserEvent {
  try {
    return event.parse(parseStrictJson(new TextEncoder().encode(text)));
  } catch (cause) {
    throw new ProtocolError("MALFORMED_MESSAGE", "not an event", { cause });
  }
}
