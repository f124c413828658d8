/**
 * A map in order of use, with everything in constant time. A `Map` with deletions is none: V8 leaves a hole for each until it makes
 * the table anew, and walks over all of them to find the first key, or to set a key again that was deleted
 * (docs/decisions/0536-order-without-walking-over-holes.md has what that cost).
 */

/** A class, so that what looks through the enclave's memory for collections does not follow the chain. */
class Entry<Key, Value> {
  readonly key: Key;
  value: Value;
  older: Entry<Key, Value> | undefined;
  newer: Entry<Key, Value> | undefined;

  constructor(key: Key, value: Value) {
    this.key = key;
    this.value = value;
  }
}

export class RecencyMap<Key, Value> {
  readonly #maxEntries: number;
  readonly #entries = new Map<Key, Entry<Key, Value>>();
  #oldest: Entry<Key, Value> | undefined;
  #newest: Entry<Key, Value> | undefined;

  /** @param maxEntries - Over it the one not used for longest is dropped. */
  constructor(maxEntries: number = Number.POSITIVE_INFINITY) {
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(key: Key): boolean {
    return this.#entries.has(key);
  }

  /** Looks, and does not count as use. */
  get(key: Key): Value | undefined {
    return this.#entries.get(key)?.value;
  }

  use(key: Key): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#moveToEnd(entry);
    return entry.value;
  }

  /** Counts as use, of what was there as well. */
  set(key: Key, value: Value): void {
    const before = this.#entries.get(key);
    if (before !== undefined) {
      before.value = value;
      this.#moveToEnd(before);
      return;
    }
    const entry = new Entry(key, value);
    this.#entries.set(key, entry);
    this.#append(entry);
    if (this.#entries.size > this.#maxEntries && this.#oldest !== undefined) this.delete(this.#oldest.key);
  }

  delete(key: Key): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    this.#unlink(entry);
    return true;
  }

  /** The one not used for longest. */
  oldest(): readonly [key: Key, value: Value] | undefined {
    return this.#oldest === undefined ? undefined : [this.#oldest.key, this.#oldest.value];
  }

  /** The longest unused first. The one at hand may be deleted, no other. */
  *[Symbol.iterator](): Generator<readonly [key: Key, value: Value], void> {
    let entry = this.#oldest;
    while (entry !== undefined) {
      const { key, value, newer } = entry;
      yield [key, value];
      entry = newer;
    }
  }

  #moveToEnd(entry: Entry<Key, Value>): void {
    if (entry === this.#newest) return;
    this.#unlink(entry);
    this.#append(entry);
  }

  #append(entry: Entry<Key, Value>): void {
    entry.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  /** Both ways: an old entry that still leads to others would keep them from the collector's quick passes. */
  #unlink(entry: Entry<Key, Value>): void {
    const { older, newer } = entry;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    entry.older = undefined;
    entry.newer = undefined;
  }
}
