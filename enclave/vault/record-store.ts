/** Calls to the parent's records port. What comes back is a claim: `records.ts` checks it. */
import {
  MAX_RECORDS_PER_PAGE,
  RECORDS_PORT,
  type RecordsAnswer,
  type RecordsCall,
  RequestError,
  recordsAnswer,
  type StoredRecord,
} from "../../protocol/index.ts";
import { CallClient, type Vsock } from "../../vsock/index.ts";

const TIMEOUT_MS = 10_000;

export interface StoredChange {
  readonly name: string;
  readonly expectedVersion: number;
  readonly version: number;
  readonly value: Uint8Array | null;
  /** From when on the store may drop it by itself; left out for what is kept. */
  readonly expiresAtMs?: number;
}

export class RecordStore {
  readonly #calls: CallClient<RecordsCall, RecordsAnswer>;

  constructor(vsock: Vsock) {
    this.#calls = new CallClient<RecordsCall, RecordsAnswer>({
      open: () => vsock.connect(RECORDS_PORT, { timeoutMs: TIMEOUT_MS }),
      answer: recordsAnswer,
    });
  }

  /** @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  async get(name: string): Promise<StoredRecord | null> {
    const answer = await this.#call({ kind: "get", name });
    if (answer.kind !== "record") throw unavailable();
    if (answer.record !== null && answer.record.name !== name) throw unavailable();
    return answer.record;
  }

  /**
   * All changes or none.
   *
   * @returns False if a version was not the expected one.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`: the changes may or may not have been made.
   */
  async write(changes: readonly StoredChange[]): Promise<boolean> {
    const answer = await this.#call({ kind: "write", changes: [...changes] });
    if (answer.kind === "written") return true;
    if (answer.kind === "conflict") return false;
    throw unavailable();
  }

  /** @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  async list(prefix: string, after: string | null): Promise<readonly StoredRecord[]> {
    const answer = await this.#call({ kind: "list", prefix, after, limit: MAX_RECORDS_PER_PAGE });
    if (answer.kind !== "records") throw unavailable();
    let previous = after ?? "";
    for (const { name } of answer.records) {
      if (!name.startsWith(prefix) || name <= previous) throw unavailable();
      previous = name;
    }
    return answer.records;
  }

  close(): void {
    this.#calls.close();
  }

  async #call(call: Parameters<CallClient<RecordsCall, RecordsAnswer>["call"]>[0]): Promise<RecordsAnswer> {
    try {
      return await this.#calls.call(call, { timeoutMs: TIMEOUT_MS });
    } catch (cause) {
      throw unavailable(cause);
    }
  }
}

function unavailable(cause?: unknown): RequestError {
  return new RequestError("RECORDS_UNAVAILABLE", "the parent's record store gives no proper answer", { cause });
}
