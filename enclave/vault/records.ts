/**
 * Records as the rest of the enclave sees them: typed, sealed, and never older than what this enclave has seen. While
 * it lives it remembers of every record the version and the tag that it last read or wrote, so that the parent can
 * neither bring back an older one, nor a sibling of the same version, nor pretend that there is none. Across a restart
 * nothing inside Nitro remembers (docs/threat-model.md, "Rollback").
 */
import {
  decodeCbor,
  encodeCbor,
  MAX_RECORD_BYTES,
  MAX_RECORD_NAME_LENGTH,
  MAX_RECORDS_PER_PAGE,
  RequestError,
  type StoredRecord,
  type z,
} from "../../protocol/index.ts";
import { type RecordCipher, tagOf } from "./record-cipher.ts";
import type { RecordStore, StoredChange } from "./record-store.ts";

/** A kind of record: where its names begin and what it holds. */
export interface RecordKind<Value> {
  readonly prefix: string;
  readonly schema: z.ZodMiniType<Value>;
}

export interface ReadRecord<Value> {
  readonly name: string;
  readonly version: number;
  readonly value: Value;
  /** As it is stored. */
  readonly sizeBytes: number;
}

/** One change of an atomic write; `read` is what the change is based on, null for a record that must not be there. */
export interface Change<Value = unknown> {
  readonly kind: RecordKind<Value>;
  /** After the kind's prefix. */
  readonly name: string;
  readonly read: ReadRecord<Value> | null;
  /** Undefined deletes. */
  readonly value: Value | undefined;
}

/** Writes down a change with its types checked; a list of them may then mix kinds. */
export function change<Value>(
  kind: RecordKind<Value>,
  name: string,
  read: ReadRecord<Value> | null,
  value: Value | undefined,
): Change {
  return { kind, name, read, value } as Change;
}

interface Seen {
  readonly version: number;
  /** Hex; null for a record that was deleted at this version. */
  readonly tag: string | null;
  /** The version of a deletion whose answer was lost: both that it is gone and that it is still there may be true. */
  readonly mayBeDeletedAt?: number;
}

/**
 * Some 270 bytes each (measured), so that no user's diligence can use up the enclave's memory. What is forgotten, the
 * one not touched for longest, is protected as after a restart.
 */
const MAX_REMEMBERED = 1_000_000;

export class Records {
  readonly #store: RecordStore;
  readonly #cipher: RecordCipher;
  readonly #maxRemembered: number;
  readonly #seen = new Map<string, Seen>();
  /** Names of records that are known to exist, by their folder: what a list must not leave out. */
  readonly #folders = new Map<string, Set<string>>();

  constructor(store: RecordStore, cipher: RecordCipher, maxRemembered: number = MAX_REMEMBERED) {
    this.#store = store;
    this.#cipher = cipher;
    this.#maxRemembered = maxRemembered;
  }

  /** @throws {@link RequestError} `RECORD_TAMPERED`, `RECORD_ROLLED_BACK`, `RECORDS_UNAVAILABLE` */
  async read<Value>(kind: RecordKind<Value>, name: string): Promise<ReadRecord<Value> | null> {
    const full = kind.prefix + name;
    const stored = await this.#store.get(full);
    if (stored === null) {
      const seen = this.#seen.get(full);
      if (this.#mustBeThere(full)) throw rolledBack();
      if (seen?.mayBeDeletedAt !== undefined) this.#remember(full, seen.mayBeDeletedAt, null);
      return null;
    }
    return this.#open(kind, stored);
  }

  /**
   * Reads the records of a kind in the folder `under`, one page after `after`. The parent can leave records out of a
   * list that this enclave has not seen yet.
   *
   * @param under - Ends in a slash.
   * @throws {@link RequestError} as {@link read}
   */
  async list<Value>(
    kind: RecordKind<Value>,
    under: string,
    after: string | null,
  ): Promise<readonly ReadRecord<Value>[]> {
    const folder = kind.prefix + under;
    const from = after === null ? null : kind.prefix + after;
    // Taken before the call: its answer may be from before a write that is made meanwhile.
    const known = [...(this.#folders.get(folder) ?? [])].filter((name) => from === null || name > from);
    const stored = await this.#store.list(folder, from);
    const listed = new Set(stored.map(({ name }) => name));
    const end = stored.length < MAX_RECORDS_PER_PAGE ? undefined : stored.at(-1)?.name;
    const isOnPage = (name: string) => end === undefined || name <= end;
    if (known.some((name) => isOnPage(name) && !listed.has(name) && this.#mustBeThere(name))) throw rolledBack();
    return stored.map((record) => this.#open(kind, record));
  }

  /**
   * Makes all changes or none.
   *
   * @param also.unsealed - Further changes of the same write, of what is not sealed by the vault.
   * @param also.generation - What to seal under, if not what the cipher uses by now.
   * @returns False if another write came between: read again, decide again.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`: unknown whether they were made; the next read tells.
   */
  async write(
    changes: readonly Change[],
    also: { readonly unsealed?: readonly StoredChange[]; readonly generation?: number } = {},
  ): Promise<boolean> {
    const stored = changes.map((each) => this.#seal(each, also.generation));
    // The store would say so too, unless it means ill: it is not asked what this enclave knows better.
    if (changes.some((each) => !this.#isBasedOnLatest(each))) return false;
    try {
      if (!(await this.#store.write([...stored, ...(also.unsealed ?? [])]))) return false;
    } catch (error) {
      for (const { name, version, value } of stored) if (value === null) this.#mayBeDeleted(name, version);
      throw error;
    }
    // Something else stands there by now: written on top of this, or in its place by a store that lied to one of two
    // writers. The next read shows which.
    if (stored.some((each) => this.#isOvertaken(each))) return false;
    for (const { name, version, value } of stored) this.#remember(name, version, value);
    return true;
  }

  /**
   * Deletes all records of a kind in a folder, page by page.
   *
   * @returns How many there were.
   * @throws {@link RequestError} as {@link list} and {@link write}; `RECORD_CONFLICT` if another write came between. What
   *   is gone by then stays gone: ask again.
   */
  async erase<Value>(kind: RecordKind<Value>, under: string): Promise<number> {
    let erased = 0;
    for (let after: string | null = null; ; ) {
      const page: readonly ReadRecord<Value>[] = await this.list(kind, under, after);
      if (page.length === 0) return erased;
      const names = page.map(({ name }) => name.slice(kind.prefix.length));
      const changes = page.map((read, at) => change(kind, names[at] ?? "", read, undefined));
      if (!(await this.write(changes)))
        throw new RequestError("RECORD_CONFLICT", "a record changed meanwhile: try again");
      erased += page.length;
      after = names.at(-1) ?? null;
    }
  }

  /**
   * Gives a page of all records, whatever their kind, to {@link reseal} one by one.
   *
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`
   */
  pageOfAll(after: string | null): Promise<readonly StoredRecord[]> {
    return this.#store.list("", after);
  }

  /**
   * Seals a record anew, under the cipher's present generation, without looking at what it says.
   *
   * @returns False if another write came between, which sealed it anew as well.
   * @throws {@link RequestError} as {@link read} and {@link write}
   */
  async reseal(stored: StoredRecord): Promise<boolean> {
    const { name, version } = stored;
    const plaintext = this.#openBytes(stored);
    const next = version + 1;
    const value = this.#cipher.seal({ name, version: next }, plaintext);
    plaintext.fill(0);
    const written: StoredChange = { name, expectedVersion: version, version: next, value };
    if (!(await this.#store.write([written])) || this.#isOvertaken(written)) return false;
    this.#remember(name, next, value);
    return true;
  }

  /**
   * True while nothing newer is known to stand in this record's place: what is kept of it may still be used. To ask is to
   * use it, so that what is in use is not forgotten.
   */
  isLatest({ name, version }: ReadRecord<unknown>): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.tag === null || seen.mayBeDeletedAt !== undefined) return false;
    this.#seen.delete(name);
    this.#seen.set(name, seen);
    return seen.version === version;
  }

  #isOvertaken({ name, version, value }: StoredChange): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.version < version) return false;
    return seen.version > version || seen.tag !== (value === null ? null : hexTag(value));
  }

  #isBasedOnLatest({ kind, name, read }: Change): boolean {
    const seen = this.#seen.get(kind.prefix + name);
    if (read === null) return seen === undefined || seen.tag === null || seen.mayBeDeletedAt !== undefined;
    return seen === undefined || (seen.tag !== null && seen.version === read.version);
  }

  /** Values are checked on their way in: one that could not be read again would lock its owner out. */
  #seal({ kind, name, read, value }: Change, generation?: number): StoredChange {
    const full = kind.prefix + name;
    const expectedVersion = read?.version ?? 0;
    const seen = this.#seen.get(full);
    const version = Math.max(expectedVersion, seen?.version ?? 0, seen?.mayBeDeletedAt ?? 0) + 1;
    if (value === undefined) return { name: full, expectedVersion, version, value: null };
    if (!kind.schema.safeParse(value).success) throw new Error(`a value that is no ${kind.prefix} record`);
    const plaintext = encodeCbor(value);
    const sealed = this.#cipher.seal({ name: full, version }, plaintext, generation);
    plaintext.fill(0);
    if (sealed.length > MAX_RECORD_BYTES || full.length > MAX_RECORD_NAME_LENGTH) {
      throw new Error(`a ${kind.prefix} record of ${sealed.length} bytes, limit ${MAX_RECORD_BYTES}`);
    }
    return { name: full, expectedVersion, version, value: sealed };
  }

  #open<Value>(kind: RecordKind<Value>, stored: StoredRecord): ReadRecord<Value> {
    const { name, version } = stored;
    const plaintext = this.#openBytes(stored);
    try {
      return { name, version, value: decodeCbor(kind.schema, plaintext) as Value, sizeBytes: stored.value.length };
    } finally {
      plaintext.fill(0);
    }
  }

  /** @returns The plaintext, which the caller wipes. */
  #openBytes({ name, version, value: sealed }: StoredRecord): Uint8Array {
    const seen = this.#seen.get(name);
    if (seen !== undefined) {
      const isOlder = version < seen.version;
      const isSibling = version === seen.version && seen.tag !== hexTag(sealed);
      if (isOlder || isSibling) throw rolledBack();
    }
    const plaintext = this.#cipher.open({ name, version }, sealed);
    this.#remember(name, version, sealed);
    return plaintext;
  }

  #mustBeThere(name: string): boolean {
    const seen = this.#seen.get(name);
    return seen !== undefined && seen.tag !== null && seen.mayBeDeletedAt === undefined;
  }

  #mayBeDeleted(name: string, version: number): void {
    const seen = this.#seen.get(name);
    if (seen !== undefined) this.#seen.set(name, { ...seen, mayBeDeletedAt: version });
  }

  #remember(name: string, version: number, sealed: Uint8Array | null): void {
    const seen = this.#seen.get(name);
    // Answers can overtake one another: an older one must not lower what is known.
    if (seen !== undefined && seen.version > version) return;
    // At the end: the first in order is the one not touched for longest.
    this.#seen.delete(name);
    this.#seen.set(name, {
      version,
      tag: sealed === null ? null : hexTag(sealed),
      ...(seen?.mayBeDeletedAt !== undefined && seen.mayBeDeletedAt > version
        ? { mayBeDeletedAt: seen.mayBeDeletedAt }
        : {}),
    });
    const folder = folderOf(name);
    const names = this.#folders.get(folder) ?? new Set();
    if (sealed === null) names.delete(name);
    else names.add(name);
    this.#folders.set(folder, names);
    if (this.#seen.size > this.#maxRemembered) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [oldest] = this.#seen.keys();
    if (oldest === undefined) return;
    this.#seen.delete(oldest);
    const names = this.#folders.get(folderOf(oldest));
    names?.delete(oldest);
    if (names?.size === 0) this.#folders.delete(folderOf(oldest));
  }
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
