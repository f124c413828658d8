/**
 * How many requests somebody has waiting: so many and no more, or whoever has a session, if only a stolen one, could fill
 * the store with them. A place is given back when what has it is collected, or rejected by somebody else; what is taken back
 * by whoever asked keeps it until its time has passed, or the bound would be none.
 */
import { RequestError, z } from "../../protocol/index.ts";
import { type Change, change, type ReadRecord, type RecordKind, type Records } from "../vault/records.ts";

/** Of a user, or of an API key: more than one batch can ask for. */
const MAX_OPEN = 100;

const place = z.strictObject({ approvalId: z.string(), expiresAtMs: z.int() });
type Place = z.output<typeof place>;

const openSchema = z.strictObject({
  places: z.array(place).check(z.maxLength(MAX_OPEN)),
  /** When the last of all that ever stood in it has passed. */
  expiresAtMs: z.int(),
});
type Open = z.output<typeof openSchema>;

/** `waiting/<appId>/<who asked>`, written together with the approvals that it counts. */
const openRecords: RecordKind<Open> = {
  prefix: "waiting/",
  schema: openSchema,
  expiresAtMs: ({ expiresAtMs }) => expiresAtMs,
};

export class OpenApprovals {
  readonly #records: Records;
  readonly #nowMs: () => number;

  constructor({ records, nowMs }: { readonly records: Records; readonly nowMs: () => number }) {
    this.#records = records;
    this.#nowMs = nowMs;
  }

  /** What takes a place. @throws {@link RequestError} `TOO_MANY_APPROVALS`, and what reading records throws */
  async take(appId: string, requester: string, taken: Place): Promise<Change> {
    const name = `${appId}/${requester}`;
    const read = await this.#read(name);
    const nowMs = this.#nowMs();
    const places = (read?.value.places ?? []).filter(({ expiresAtMs }) => expiresAtMs > nowMs);
    if (places.length >= MAX_OPEN) {
      throw new RequestError("TOO_MANY_APPROVALS", `${MAX_OPEN} requests wait for approval: let them pass, or expire`);
    }
    const expiresAtMs = Math.max(taken.expiresAtMs, read?.value.expiresAtMs ?? 0);
    return change(openRecords, name, read, { places: [...places, taken], expiresAtMs });
  }

  /** What gives a place back; nothing where it has none any more. @throws {@link RequestError} what reading records throws */
  async giveBack(appId: string, requester: string, approvalId: string): Promise<readonly Change[]> {
    const name = `${appId}/${requester}`;
    const read = await this.#read(name);
    const places = read?.value.places ?? [];
    const others = places.filter((each) => each.approvalId !== approvalId);
    if (read === null || others.length === places.length) return [];
    return [change(openRecords, name, read, { ...read.value, places: others })];
  }

  /** Of somebody who is to be erased. @throws {@link RequestError} what reading records throws */
  async forget(appId: string, requester: string): Promise<readonly Change[]> {
    const name = `${appId}/${requester}`;
    const read = await this.#read(name);
    return read === null ? [] : [change(openRecords, name, read, undefined)];
  }

  #read(name: string): Promise<ReadRecord<Open> | null> {
    return this.#records.read(openRecords, name);
  }
}
