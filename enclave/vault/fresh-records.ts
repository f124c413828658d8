/**
 * Sealed records, never older than what this enclave has seen. While it lives it remembers of every record the version and
 * the tag that it last read or wrote, so that the parent can neither bring back an older one, nor a sibling of the same
 * version, nor pretend that there is none. Nothing is opened here: who opens a record says what is to be remembered of it.
 *
 * The main thread has the one that counts, over the parent's store. A signing worker has a smaller one over the main
 * thread's, and what it knows besides is a part of what that knows
 * (docs/decisions/0522-signing-workers-share-one-memory-of-records.md).
 */
import { MAX_RECORDS_PER_PAGE, RequestError, type StoredRecord } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";
import { tagOf } from "./record-cipher.ts";
import type { StoredChange } from "./record-store.ts";
import { SortedNames } from "./sorted-names.ts";

export interface Seen {
  readonly version: number;
  /** Hex. */
  readonly tag: string;
  /** True where a sealed deletion stands in the record's place. */
  readonly isDeleted: boolean;
  /** From then on its absence says nothing; null for what is kept. */
  readonly expiresAtMs: number | null;
}

export type SealedChange = StoredChange & { readonly value: Uint8Array };

/** Where sealed records come from: the parent's store, or what stands between that and a worker. */
export interface SealedStore {
  /** @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  get(name: string): Promise<StoredRecord | null>;
  /** @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  list(folder: string, after: string | null): Promise<readonly StoredRecord[]>;
  /** @param deleted - Names of those that are deletions. @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  write(changes: readonly StoredChange[], deleted: ReadonlySet<string>): Promise<boolean>;
  /** Hears of what was opened. */
  remember?(name: string, seen: Seen): void;
  /** Another number as soon as something newer is known of this record below; it may be another for less. */
  mark?(name: string): number;
}

/** A record as it was given, and what {@link FreshRecords.mark} was before that. */
export interface Given {
  readonly stored: StoredRecord;
  readonly mark: number;
}

interface Remembered extends Seen {
  readonly mark: number;
}

/** Of what came in a list: its names were not known before it was asked for, so nothing was looked at before. */
export const NO_MARK = -1;
/**
 * Some 360 bytes each (measured), so that no user's diligence can use up the enclave's memory. What is forgotten, the
 * one not touched for longest, is protected as after a restart.
 */
const MAX_REMEMBERED = 1_000_000;
/** An answer can be overtaken by what another enclave wrote, and then it is asked for again: so often. */
const MAX_READS = 4;
const NO_NAMES: ReadonlySet<string> = new Set();

export class FreshRecords {
  readonly #store: SealedStore;
  readonly #maxRemembered: number;
  readonly #nowMs: () => number;
  readonly #seen = new RecencyMap<string, Remembered>();
  /** Names of records that are known to exist, by their folder: what a list must not leave out. */
  readonly #folders = new Map<string, SortedNames>();
  #onNews: ((name: string) => void) | undefined;

  /** @param nowMs - The trusted clock; where it stands still, no record expires. */
  constructor(store: SealedStore, maxRemembered: number = MAX_REMEMBERED, nowMs: () => number = () => 0) {
    this.#store = store;
    this.#maxRemembered = maxRemembered;
    this.#nowMs = nowMs;
  }

  /** From now on `hear` is told of every record of which something else is remembered than before, as it is remembered. */
  onNews(hear: (name: string) => void): void {
    this.#onNews = hear;
  }

  /** @throws {@link RequestError} `RECORD_ROLLED_BACK`, `RECORDS_UNAVAILABLE` */
  async get(name: string): Promise<Given | null> {
    for (let attempt = 1; ; attempt += 1) {
      const before = this.#seen.get(name);
      const mark = this.#markBelow(name);
      const stored = await this.#store.get(name);
      if (stored === null ? !this.#mustBeThere(name) : !this.#isBehind(stored)) {
        return stored === null ? null : { stored, mark };
      }
      // What contradicts it was learnt while it was on its way: it may have been true when it was given.
      if (this.#seen.get(name) === before || attempt === MAX_READS) throw rolledBack();
    }
  }

  /** One page of a folder. @throws {@link RequestError} as {@link get} */
  async list(folder: string, after: string | null): Promise<readonly StoredRecord[]> {
    for (let attempt = 1; ; attempt += 1) {
      // Taken before the call: its answer may be from before a write that is made meanwhile.
      const before = this.#firstKnown(folder, after);
      const stored = await this.#store.list(folder, after);
      const listed = new Set(stored.map(({ name }) => name));
      const end = stored.length < MAX_RECORDS_PER_PAGE ? undefined : stored.at(-1)?.name;
      const missing = [...before.keys()].filter((name) => (end === undefined || name <= end) && !listed.has(name));
      if (missing.some((name) => this.#mustBeThere(name))) throw rolledBack();
      const behind = stored.filter((record) => this.#isBehind(record));
      if (missing.length === 0 && behind.length === 0) return stored;
      // What is missing expired while the answer was on its way.
      const isOvertaken = behind.every(({ name }) => this.#seen.get(name) !== before.get(name));
      if (!isOvertaken || attempt === MAX_READS) throw rolledBack();
    }
  }

  /**
   * What must be in the folder, up to one more than a page holds: a full page that leaves out any of what is known leaves out one
   * of these.
   */
  #firstKnown(folder: string, after: string | null): ReadonlyMap<string, Remembered | undefined> {
    const found = new Map<string, Remembered | undefined>();
    for (const name of this.#folders.get(folder)?.after(after) ?? []) {
      if (found.size > MAX_RECORDS_PER_PAGE) break;
      if (this.#mustBeThere(name)) found.set(name, this.#seen.get(name));
    }
    return found;
  }

  /** A page of all records, whatever stands there. @throws {@link RequestError} `RECORDS_UNAVAILABLE` */
  pageOfAll(after: string | null): Promise<readonly StoredRecord[]> {
    return this.#store.list("", after);
  }

  /**
   * Makes all changes or none. What was made is remembered by the time that this resolves.
   *
   * @param unsealed - Further changes of the same write, of what is not remembered.
   * @returns False if another write came between.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`: unknown whether they were made; the next read tells.
   */
  async write(
    changes: readonly SealedChange[],
    deleted: ReadonlySet<string>,
    unsealed: readonly StoredChange[] = [],
  ): Promise<boolean> {
    // The store would say so too, unless it means ill: it is not asked what this enclave knows better.
    if (!changes.every((each) => this.#isBasedOnLatest(each))) return false;
    if (!(await this.#store.write([...changes, ...unsealed], deleted))) return false;
    // Something else stands there by now: written on top of this, or in its place by a store that lied to one of two
    // writers. The next read shows which.
    if (changes.some((each) => this.#isReplaced(each))) return false;
    for (const each of changes) this.#remember(each.name, { ...seenOf(each, deleted.has(each.name)), mark: NO_MARK });
    return true;
  }

  /**
   * Puts what says the same in the place of each of some records, all or none. What was not remembered is not remembered for
   * that: a pass over all records must not drive out those that are in use.
   *
   * @returns How many stand there now; null, and none was made, if another write came between one of them.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`: unknown whether they were made
   */
  async replace(written: readonly SealedChange[]): Promise<number | null> {
    if (!(await this.#store.write(written, NO_NAMES))) return null;
    const standing = written.filter((each) => !this.#isReplaced(each));
    for (const each of standing) {
      const seen = this.#seen.get(each.name);
      // When it may go is what its plaintext says, not what the store says of it.
      if (seen === undefined) this.#onNews?.(each.name);
      else this.#remember(each.name, { ...seen, ...seenOf(each, seen.isDeleted), expiresAtMs: seen.expiresAtMs });
    }
    return standing.length;
  }

  /**
   * Whether a record that was listed is behind what was learnt of it while the list was on its way.
   *
   * @throws {@link RequestError} `RECORD_ROLLED_BACK` if the parent gives nothing newer; `RECORDS_UNAVAILABLE`
   */
  async isOvertaken(listed: StoredRecord): Promise<boolean> {
    if (!this.#isBehind(listed)) return false;
    await this.get(listed.name);
    return true;
  }

  /** Takes note of a record that was opened. @param mark - As it was given. */
  remember(name: string, seen: Seen, mark: number = NO_MARK): void {
    this.#remember(name, { ...seen, mark });
    this.#store.remember?.(name, seen);
  }

  /** As it was read before, and given again. @param given - What was given now. */
  isKnown({ name, version }: { readonly name: string; readonly version: number }, { stored, mark }: Given): boolean {
    const seen = this.#seen.get(name);
    const isKnown =
      seen?.isDeleted === false &&
      name === stored.name &&
      version === stored.version &&
      seen.version === version &&
      seen.tag === hexTag(stored.value);
    if (isKnown && seen.mark !== mark) this.#remember(name, { ...seen, mark });
    return isKnown;
  }

  /**
   * True while nothing newer is known to stand in this record's place: what is kept of it may still be used. To ask is to
   * use it, so that what is in use is not forgotten.
   */
  isLatest({ name, version }: { readonly name: string; readonly version: number }): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.isDeleted) return false;
    this.#seen.use(name);
    return seen.version === version && seen.mark === this.#markBelow(name);
  }

  /** Another number as soon as something newer is known of this record: what was asked for before may be outdated. */
  mark(name: string): number {
    return this.#store.mark?.(name) ?? this.#seen.get(name)?.version ?? 0;
  }

  /** What a write of this record is to name: what stands there, as far as that is known. */
  seen(name: string): Seen | undefined {
    return this.#seen.get(name);
  }

  #markBelow(name: string): number {
    return this.#store.mark?.(name) ?? NO_MARK;
  }

  /** Older than what is remembered, or another of the same version. */
  #isBehind({ name, version, value }: StoredRecord): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || this.#hasExpired(seen)) return false;
    return version < seen.version || (version === seen.version && seen.tag !== hexTag(value));
  }

  /** A deletion as well: it is a record. */
  #mustBeThere(name: string): boolean {
    const seen = this.#seen.get(name);
    return seen !== undefined && !this.#hasExpired(seen);
  }

  #isBasedOnLatest({ name, expectedVersion }: SealedChange): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.version === expectedVersion) return true;
    return expectedVersion === 0 && this.#hasExpired(seen);
  }

  #isReplaced({ name, version, value }: SealedChange): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.version < version || this.#hasExpired(seen)) return false;
    return seen.version > version || seen.tag !== hexTag(value);
  }

  #hasExpired({ expiresAtMs }: Seen): boolean {
    return expiresAtMs !== null && this.#nowMs() >= expiresAtMs;
  }

  #remember(name: string, now: Remembered): void {
    const seen = this.#seen.get(name);
    // Answers can overtake one another: an older one must not lower what is known.
    if (seen !== undefined && seen.version > now.version && !this.#hasExpired(seen)) return;
    const isSame = seen?.version === now.version && seen.tag === now.tag;
    // The same one is not another for being seen again: a read that waits tells by that whether something was learnt.
    this.#seen.set(name, isSame && (now.mark === NO_MARK || now.mark === seen.mark) ? seen : now);
    if (seen === undefined) this.#addToFolder(name);
    if (!isSame) this.#onNews?.(name);
  }

  #addToFolder(name: string): void {
    const folder = folderOf(name);
    const names = this.#folders.get(folder) ?? new SortedNames();
    names.add(name);
    this.#folders.set(folder, names);
    if (this.#seen.size > this.#maxRemembered) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [oldest] = this.#seen.oldest() ?? [];
    if (oldest === undefined) return;
    this.#seen.delete(oldest);
    const names = this.#folders.get(folderOf(oldest));
    names?.delete(oldest);
    if (names?.isEmpty) this.#folders.delete(folderOf(oldest));
  }
}

/** What is to be remembered of a record once its plaintext says whether it is a deletion, and until when it is kept. */
export function seenOf(
  { version, value, expiresAtMs }: { version: number; value: Uint8Array; expiresAtMs?: number | null },
  isDeleted: boolean,
): Seen {
  return { version, tag: hexTag(value), isDeleted, expiresAtMs: expiresAtMs ?? null };
}

function folderOf(name: string): string {
  return name.slice(0, name.lastIndexOf("/") + 1);
}

function hexTag(sealed: Uint8Array): string {
  return Buffer.from(tagOf(sealed)).toString("hex");
}

function rolledBack(): RequestError {
  return new RequestError(
    "RECORD_ROLLED_BACK",
    "the parent gives an older state of a record than the enclave has seen",
  );
}
