/** Users' events: each a record of its own, written together with the change that it tells of, or not at all. */
import { createHash, type KeyObject, sign } from "node:crypto";
import {
  type Erasure,
  type ErasureReceipt,
  type EventKind,
  encodeErasure,
  encodeEvent,
  erasureSigningInput,
  eventSigningInput,
  FIRST_PREVIOUS,
  type ListedEvent,
  listedEvent,
  RequestError,
  type z,
} from "../../protocol/index.ts";
import type { User } from "../users/user.ts";
import { type Change, change, type RecordKind, type Records } from "../vault/records.ts";
import { publicEventKeyHex } from "./event-key.ts";

/** `event/<appId>/<userId>/<seq>` */
const eventRecords: RecordKind<ListedEvent> = {
  prefix: "event/",
  schema: listedEvent as z.ZodMiniType<ListedEvent>,
};

const EVENTS_PER_PAGE = 15;
/** So that names sort as numbers do. */
const SEQ_DIGITS = 10;

export interface NewEvent {
  readonly kind: EventKind;
  /** A session's or a passkey's id. */
  readonly by: string;
  /** Short texts; no secret. */
  readonly details?: Readonly<Record<string, string>>;
}

export interface EventsPage {
  readonly events: readonly ListedEvent[];
  readonly more: boolean;
  readonly publicKey: string;
}

export class Events {
  readonly #records: Records;
  readonly #key: KeyObject;
  readonly #publicKeyHex: string;
  readonly #deployment: string;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly records: Records;
    readonly key: KeyObject;
    readonly deployment: string;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#key = options.key;
    this.#publicKeyHex = publicEventKeyHex(options.key);
    this.#deployment = options.deployment;
    this.#nowMs = options.nowMs;
  }

  /**
   * Adds an event to a user that is about to be written.
   *
   * @param user - As it will be written otherwise.
   * @returns The user with its chain one longer, and the event's record: to be written together.
   */
  add(appId: string, userId: string, user: User, event: NewEvent): { readonly user: User; readonly also: Change } {
    const seq = user.events.count + 1;
    const { last } = user.events;
    const text = encodeEvent({
      v: 1,
      deployment: this.#deployment,
      appId,
      userId,
      seq,
      atMs: this.#nowMs(),
      kind: event.kind,
      by: event.by,
      details: { ...event.details },
      previous: last === null ? FIRST_PREVIOUS : Buffer.from(last).toString("hex"),
    });
    const signature = sign(null, eventSigningInput(text), this.#key).toString("hex");
    return {
      user: { ...user, events: { count: seq, last: digestOf(text) } },
      also: change(eventRecords, nameOf(appId, userId, seq), null, { event: text, signature }),
    };
  }

  /**
   * One page, in order. How many there are, and what the last one says, is the user's record's to tell: what the parent
   * withholds is missed.
   *
   * @throws {@link RequestError} `RECORD_ROLLED_BACK`, `RECORD_TAMPERED`, and what records throw
   */
  async list(appId: string, userId: string, user: User, after: number): Promise<EventsPage> {
    const { count, last } = user.events;
    const until = Math.min(count, after + EVENTS_PER_PAGE);
    const seqs = Array.from({ length: Math.max(0, until - after) }, (_, at) => after + 1 + at);
    const events = await Promise.all(seqs.map((seq) => this.#read(appId, userId, seq)));
    const final = events.at(-1);
    if (
      until === count &&
      final !== undefined &&
      (last === null || Buffer.compare(digestOf(final.event), last) !== 0)
    ) {
      throw new RequestError("RECORD_TAMPERED", "the last event is not the one that the user's record names");
    }
    return { events, more: until < count, publicKey: this.#publicKeyHex };
  }

  /** Says, under the key that signs events, that a user was erased. */
  receiptOf(erased: Pick<Erasure, "appId" | "userId" | "records">): ErasureReceipt {
    const receipt = encodeErasure({ v: 1, deployment: this.#deployment, erasedAtMs: this.#nowMs(), ...erased });
    const signature = sign(null, erasureSigningInput(receipt), this.#key).toString("hex");
    return { receipt, signature, publicKey: this.#publicKeyHex };
  }

  /** Destroys all of a user's events. @returns How many there were. */
  async erase(appId: string, userId: string): Promise<number> {
    return await this.#records.erase(eventRecords, `${appId}/${userId}/`);
  }

  async #read(appId: string, userId: string, seq: number): Promise<ListedEvent> {
    const read = await this.#records.read(eventRecords, nameOf(appId, userId, seq));
    if (read === null) throw new RequestError("RECORD_ROLLED_BACK", `the parent withholds event ${seq}`);
    return read.value;
  }
}

function nameOf(appId: string, userId: string, seq: number): string {
  return `${appId}/${userId}/${seq.toString().padStart(SEQ_DIGITS, "0")}`;
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}
