/**
 * What was read lately of one kind, for as long as it may be trusted. Another enclave may have changed a record without
 * this one's hearing of it, so whoever asks says how old an answer may be; what is kept is looked at again by its version
 * (docs/decisions/0510-enclaves-share-records-alone.md).
 */

import type { ReadRecord, RecordKind, Records } from "./records.ts";
import { SizedCache } from "./sized-cache.ts";

/**
 * How long a request may rest on what another enclave has changed since: the bound within which a revocation, and a
 * change of an app, is in force everywhere. Measured in docs/scale-out.md.
 */
export const TRUSTED_FOR_MS = 1_000;

interface Kept<Value> {
  readonly read: ReadRecord<Value>;
  /** When the store was asked, not when it answered. */
  readonly atMs: number;
  readonly sizeBytes: number;
}

interface Reading<Value> {
  readonly atMs: number;
  /** Of what was known by then: a write that has been answered since is not for those to miss who ask after it. */
  readonly mark: number;
  readonly answer: Promise<ReadRecord<Value> | null>;
}

export class FreshCache<Value> {
  readonly #records: Records;
  readonly #kind: RecordKind<Value>;
  readonly #nowMs: () => number;
  readonly #kept: SizedCache<Kept<Value>>;
  /** Many requests at once rest on one record: they wait for one look at it. */
  readonly #reading = new Map<string, Reading<Value>>();

  /** @param maxBytes - As they are stored; decoded, they take some twice as much (measured). */
  constructor(options: {
    readonly records: Records;
    readonly kind: RecordKind<Value>;
    readonly nowMs: () => number;
    readonly maxBytes: number;
  }) {
    this.#records = options.records;
    this.#kind = options.kind;
    this.#nowMs = options.nowMs;
    this.#kept = new SizedCache(options.maxBytes);
  }

  /**
   * @param maxAgeMs - 0 for what stands there now: every write that was answered before this call, by any enclave.
   * @throws {@link RequestError} what reading records throws
   */
  async read(name: string, maxAgeMs: number = TRUSTED_FOR_MS): Promise<ReadRecord<Value> | null> {
    const oldestMs = this.#nowMs() - maxAgeMs;
    const kept = this.#kept.get(name);
    const isLatest = kept !== undefined && this.#records.isLatest(kept.read);
    if (isLatest && maxAgeMs > 0 && kept.atMs > oldestMs) return kept.read;
    const underWay = this.#reading.get(name);
    const isJoined = underWay !== undefined && maxAgeMs > 0 && underWay.atMs > oldestMs;
    if (isJoined && underWay.mark === this.#markOf(name)) return underWay.answer;
    return this.#readAnew(name, isLatest ? kept.read : null);
  }

  /** Memory must not speak for this record any more, nor what is being read of it now. */
  drop(name: string): void {
    this.#kept.delete(name);
    this.#reading.delete(name);
  }

  #markOf(name: string): number {
    return this.#records.sealed.mark(this.#kind.prefix + name);
  }

  async #readAnew(name: string, known: ReadRecord<Value> | null): Promise<ReadRecord<Value> | null> {
    const atMs = this.#nowMs();
    const mark = this.#markOf(name);
    const reading: Reading<Value> = { atMs, mark, answer: this.#records.read(this.#kind, name, known) };
    this.#reading.set(name, reading);
    try {
      const read = await reading.answer;
      const isWanted = this.#reading.get(name) === reading;
      // A write may have ended while this was on its way.
      if (!isWanted || read === null || !this.#records.isLatest(read)) {
        if (isWanted) this.#kept.delete(name);
        return read;
      }
      this.#kept.set(name, { read, atMs, sizeBytes: read.sizeBytes });
      return read;
    } finally {
      if (this.#reading.get(name) === reading) this.#reading.delete(name);
    }
  }
}
