/**
 * A pass over all records that seals anew those of an older generation: many in one write, and the next pages are read while
 * that is under way. It takes three of the store's places at most, so that requests do not wait behind it.
 *
 * What it finds is for the parent to say. A record that is kept back stays sealed under the older generation, and never opens
 * once that is retired: the same as if it were deleted (docs/decisions/0533-the-pass-writes-many-records-at-once.md).
 */
import { MAX_RECORD_CHANGES, RequestError, type StoredRecord } from "../../protocol/index.ts";
import type { SealedChange } from "./fresh-records.ts";
import { generationOf, type RecordCipher } from "./record-cipher.ts";
import type { Records } from "./records.ts";

/** Writes at a time. One would leave the store idle while the next is read and sealed. */
const MAX_UNDER_WAY = 2;
/** Of one write: it must fit into a frame, with its names. */
const MAX_BYTES = 512 * 1024;
/** Wrapped by KMS and not sealed. */
const WRAPPED_PREFIX = "vault/";

export interface ResealPassOptions {
  readonly records: Pick<Records, "pageOfAll" | "sealAnew" | "replace">;
  readonly cipher: Pick<RecordCipher, "generation">;
  readonly signal: AbortSignal;
  /** Rejects where the pass is another enclave's by now. */
  readonly keepBeating: () => Promise<void>;
  readonly onResealed: (count: number) => void;
}

export class ResealPass {
  /** What it seals under. */
  readonly generation: number;
  readonly #options: ResealPassOptions;
  #after: string | null = null;
  #isOver = false;
  #found = 0;
  /** Of records that it could not seal anew: the first. */
  #refused: RequestError | undefined;
  /** For the next write. */
  #ready: SealedChange[] = [];
  #readyBytes = 0;
  /** None rejects. */
  readonly #underWay = new Set<Promise<void>>();
  /** Of a write. */
  #failure: { readonly error: unknown } | undefined;

  constructor(options: ResealPassOptions) {
    this.#options = options;
    this.generation = options.cipher.generation;
  }

  /** Whether it has come to the end of the records. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** How often it has met a record of an older generation so far. */
  get found(): number {
    return this.#found;
  }

  /**
   * Looks at all records, or, where a call of before failed, at those that are left: what that could not write has been found,
   * and so another pass will meet it. When this settles, no write is under way any more.
   *
   * @returns How often it met a record of an older generation; null if it was stopped before the end.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`, `RECORD_CONFLICT`, what `keepBeating` throws; after the end,
   *   `RECORD_TAMPERED` and `RECORD_ROLLED_BACK` for a record that could not be sealed anew: all others were
   */
  async run(): Promise<number | null> {
    this.#failure = undefined;
    try {
      while (!this.#isOver && !this.#options.signal.aborted) await this.#takePage();
      await this.#begin();
    } finally {
      await Promise.all(this.#underWay);
    }
    this.#throwFailure();
    if (this.#options.signal.aborted) return null;
    if (this.#refused !== undefined) throw this.#refused;
    return this.#found;
  }

  async #takePage(): Promise<void> {
    const { records, cipher, signal, keepBeating } = this.#options;
    const page = await records.pageOfAll(this.#after);
    if (signal.aborted) return;
    await keepBeating();
    if (cipher.generation !== this.generation) throw new RequestError("RECORD_CONFLICT", "there is a newer generation");
    for (const record of page) {
      await this.#take(record);
      this.#after = record.name;
    }
    this.#isOver = page.length === 0;
  }

  async #take(stored: StoredRecord): Promise<void> {
    if (stored.name.startsWith(WRAPPED_PREFIX) || generationOf(stored.value) === this.generation) return;
    this.#found += 1;
    const change = await this.#options.records.sealAnew(stored).catch((error: unknown) => {
      // One that does not open keeps the older generation from being retired, and no other from being sealed anew.
      if (!(error instanceof RequestError) || error.code === "RECORDS_UNAVAILABLE") throw error;
      this.#refused ??= error;
      return null;
    });
    if (change === null) return;
    const { length } = change.value;
    if (this.#ready.length === MAX_RECORD_CHANGES || this.#readyBytes + length > MAX_BYTES) await this.#begin();
    this.#ready.push(change);
    this.#readyBytes += length;
  }

  /** Waits for a place, not for the write. */
  async #begin(): Promise<void> {
    while (this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay);
    this.#throwFailure();
    if (this.#ready.length === 0) return;
    const writing: Promise<void> = this.#write(this.#ready)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#underWay.delete(writing));
    this.#underWay.add(writing);
    this.#ready = [];
    this.#readyBytes = 0;
  }

  /** Where another write came between one of them, none is made: then each half by itself. One alone is met again. */
  async #write(changes: readonly SealedChange[]): Promise<void> {
    if (this.#options.signal.aborted || this.#failure !== undefined) return;
    const count = await this.#options.records.replace(changes);
    if (count !== null) {
      this.#options.onResealed(count);
    } else if (changes.length > 1) {
      const middle = Math.ceil(changes.length / 2);
      await this.#write(changes.slice(0, middle));
      await this.#write(changes.slice(middle));
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
