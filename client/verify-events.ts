/** Checks a user's events by themselves: who signed them, and that none is missing, changed or out of place. */
import {
  decodeEvent,
  decodeHex,
  encodeHex,
  eventSigningInput,
  FIRST_PREVIOUS,
  type ListedEvent,
  ProtocolError,
  type UserEvent,
} from "../protocol/index.ts";

export type EventsErrorCode =
  | "EVENT_MALFORMED"
  | "EVENT_SIGNATURE_INVALID"
  | "EVENT_OUT_OF_ORDER"
  | "EVENT_CHAIN_BROKEN"
  | "EVENT_OF_ANOTHER_USER";

/** The events must not be taken for the user's whole history. */
export class EventsError extends Error {
  override readonly name = "EventsError";
  readonly code: EventsErrorCode;

  constructor(code: EventsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Verifies a chain from its first event on. That its end is the latest event, only the enclave's own answer tells: what
 * was cut off at the end leaves a chain that is whole.
 *
 * @param publicKeyHex - Of the vault's event key, from a verified answer and not from the file with the events.
 * @throws {@link EventsError}
 */
export async function verifyEvents(
  events: Iterable<ListedEvent> | AsyncIterable<ListedEvent>,
  publicKeyHex: string,
): Promise<readonly UserEvent[]> {
  const key = await crypto.subtle.importKey("raw", decodeHex(publicKeyHex), "Ed25519", false, ["verify"]);
  const verified: UserEvent[] = [];
  let previous = FIRST_PREVIOUS;
  for await (const listed of events) {
    const seq = verified.length + 1;
    const input = eventSigningInput(listed.event);
    if (!(await crypto.subtle.verify("Ed25519", key, signatureOf(listed, seq), input))) {
      throw new EventsError("EVENT_SIGNATURE_INVALID", `event ${seq} is not signed by this vault's event key`);
    }
    const event = parse(listed.event, seq);
    const [first = event] = verified;
    if (event.seq !== seq) {
      throw new EventsError("EVENT_OUT_OF_ORDER", `expected event ${seq}, got event ${event.seq}`);
    }
    if (event.deployment !== first.deployment || event.appId !== first.appId || event.userId !== first.userId) {
      throw new EventsError("EVENT_OF_ANOTHER_USER", `event ${seq} is of another user than the first`);
    }
    if (event.previous !== previous) {
      throw new EventsError("EVENT_CHAIN_BROKEN", `event ${seq} follows another event than the one before it`);
    }
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(listed.event));
    previous = encodeHex(new Uint8Array(digest));
    verified.push(event);
  }
  return verified;
}

function signatureOf({ signature }: ListedEvent, seq: number): Uint8Array<ArrayBuffer> {
  try {
    return decodeHex(signature);
  } catch (cause) {
    throw new EventsError("EVENT_MALFORMED", `event ${seq}: its signature is not hex`, { cause });
  }
}

function parse(text: string, seq: number): UserEvent {
  try {
    return decodeEvent(text);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new EventsError("EVENT_MALFORMED", `event ${seq} is signed and cannot be read: a later version's`, { cause });
  }
}
