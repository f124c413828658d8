/**
 * Records as the rest of the enclave sees them: typed, sealed, and never older than what this enclave has seen. While
 * it lives it remembers of every record the version and the tag that it last read or wrote, so that the parent can
 * neither bring back an older one, nor a sibling of the same version, nor pretend that there is none. Across a restart
 * nothing inside Nitro remembers (docs/threat-model.md, "Rollback").
 *
 * Other enclaves write the same records, and all that this one may conclude from what it remembers must stay true of
 * what they do: versions only grow, a deletion is a sealed record as well, and what may go by itself says when
 * (docs/decisions/0511-versions-only-grow.md).
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
import { generationOf, type RecordCipher, tagOf } from "./record-cipher.ts";
import type { RecordStore, StoredChange } from "./record-store.ts";

/** A kind of record: where its names begin and what it holds. */
export interface RecordKind<Value> {
  readonly prefix: string;
  readonly schema: z.ZodMiniType<Value>;
  /** Takes over what was just decoded, before anything else runs: such as secrets, to where they can be wiped. */
  readonly settle?: (value: Value) => void;
  /** For what need not be kept for ever: from when on, by the enclave's clock, the store may drop it by itself. */
  readonly expiresAtMs?: (value: Value) => number | null;
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
  /** Hex. */
  readonly tag: string;
  /** True where a sealed deletion stands in the record's place. */
  readonly isDeleted: boolean;
  /** From then on its absence says nothing; null for what is kept. */
  readonly expiresAtMs: number | null;
}

/** Which generations of the vault there are is for several enclaves to agree on: `vault-rotation.ts`. */
export interface GenerationWatch {
  /** Learns of a generation that a record names, if there is such a one. Rejects where that cannot be told now. */
  follow(generation: number): Promise<void>;
  /** Makes sure that what is sealed now is sealed under a generation which others still read. */
  beforeSealing(): Promise<void>;
}

/**
 * Some 270 bytes each (measured), so that no user's diligence can use up the enclave's memory. What is forgotten, the
 * one not touched for longest, is protected as after a restart.
 */
const MAX_REMEMBERED = 1_000_000;
/** An answer can be overtaken by what another enclave wrote, and then it is asked for again: so often. */
const MAX_READS = 4;
/** Of the vault's own records. */
const VAULT_PREFIX = "keys/";
/** CBOR's null, which no kind's schema takes. */
const DELETED = 0xf6;

export class Records {
  readonly #store: RecordStore;
  readonly #cipher: RecordCipher;
  readonly #maxRemembered: number;
  readonly #nowMs: () => number;
  readonly #seen = new Map<string, Seen>();
  /** Names of records that are known to exist, by their folder: what a list must not leave out. */
  readonly #folders = new Map<string, Set<string>>();
  #watch: GenerationWatch | undefined;

  /** @param nowMs - The trusted clock; where it stands still, no record expires. */
  constructor(
    store: RecordStore,
    cipher: RecordCipher,
    maxRemembered: number = MAX_REMEMBERED,
    nowMs: () => number = () => 0,
  ) {
    this.#store = store;
    this.#cipher = cipher;
    this.#maxRemembered = maxRemembered;
    this.#nowMs = nowMs;
  }

  /** From now on, generations are watched. */
  watchGenerations(watch: GenerationWatch): void {
    this.#watch = watch;
  }

  /**
   * @param known - What was read earlier: given back, if it still stands there, without being opened again.
   * @throws {@link RequestError} `RECORD_TAMPERED`, `RECORD_ROLLED_BACK`, `RECORDS_UNAVAILABLE`, `KMS_FAILED`
   */
  async read<Value>(
    kind: RecordKind<Value>,
    name: string,
    known: ReadRecord<Value> | null = null,
  ): Promise<ReadRecord<Value> | null> {
    const full = kind.prefix + name;
    for (let attempt = 1; ; attempt += 1) {
      const before = this.#seen.get(full);
      const stored = await this.#store.get(full);
      if (stored === null ? !this.#mustBeThere(full) : !this.#isBehind(stored)) {
        if (stored === null) return null;
        if (known !== null && this.#isKnown(known, stored)) return known;
        return await this.#open(kind, stored);
      }
      // What contradicts it was learnt while it was on its way: it may have been true when it was given.
      if (this.#seen.get(full) === before || attempt === MAX_READS) throw rolledBack();
    }
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
    const found: ReadRecord<Value>[] = [];
    // Deletions take room on the store's pages, and none on ours.
    for (let from = after === null ? null : kind.prefix + after; ; ) {
      const page = await this.#listPage(kind.prefix + under, from);
      for (const record of page) {
        const read = await this.#open(kind, record);
        if (read !== null) found.push(read);
        if (found.length === MAX_RECORDS_PER_PAGE) return found;
      }
      if (page.length < MAX_RECORDS_PER_PAGE) return found;
      from = page.at(-1)?.name ?? null;
    }
  }

  async #listPage(folder: string, from: string | null): Promise<readonly StoredRecord[]> {
    for (let attempt = 1; ; attempt += 1) {
      // Taken before the call: its answer may be from before a write that is made meanwhile.
      const known = [...(this.#folders.get(folder) ?? [])].filter((name) => from === null || name > from);
      const before = new Map(known.map((name) => [name, this.#seen.get(name)]));
      const stored = await this.#store.list(folder, from);
      const listed = new Set(stored.map(({ name }) => name));
      const end = stored.length < MAX_RECORDS_PER_PAGE ? undefined : stored.at(-1)?.name;
      const isOnPage = (name: string) => end === undefined || name <= end;
      if (known.some((name) => isOnPage(name) && !listed.has(name) && this.#mustBeThere(name))) throw rolledBack();
      const behind = stored.filter((record) => this.#isBehind(record));
      if (behind.length === 0) return stored;
      const isOvertaken = behind.every(({ name }) => this.#seen.get(name) !== before.get(name));
      if (!isOvertaken || attempt === MAX_READS) throw rolledBack();
    }
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
    await this.#watch?.beforeSealing();
    const sealed = changes.map((each) => this.#seal(each, also.generation));
    // The store would say so too, unless it means ill: it is not asked what this enclave knows better.
    if (changes.some((each) => !this.#isBasedOnLatest(each))) return false;
    const stored = sealed.map(({ change: each }) => each);
    if (!(await this.#store.write([...stored, ...(also.unsealed ?? [])]))) return false;
    // Something else stands there by now: written on top of this, or in its place by a store that lied to one of two
    // writers. The next read shows which.
    if (stored.some((each) => this.#isOvertaken(each))) return false;
    for (const { change: each, isDeleted } of sealed) this.#remember(each.name, seenOf(each, isDeleted));
    return true;
  }

  /**
   * Deletes all records of a kind in a folder, page by page.
   *
   * @param wipe - For what was read on the way and holds secrets.
   * @returns How many there were.
   * @throws {@link RequestError} as {@link list} and {@link write}; `RECORD_CONFLICT` if another write came between. What
   *   is gone by then stays gone: ask again.
   */
  async erase<Value>(
    kind: RecordKind<Value>,
    under: string,
    wipe: (value: Value) => void = () => undefined,
  ): Promise<number> {
    let erased = 0;
    for (let after: string | null = null; ; ) {
      const page: readonly ReadRecord<Value>[] = await this.list(kind, under, after);
      if (page.length === 0) return erased;
      for (const { value } of page) wipe(value);
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
   * Seals a record anew, under the cipher's present generation, without looking at what it says. What was not remembered
   * is not remembered for that: a pass over all records must not drive out those that are in use.
   *
   * @returns False if another write came between, which sealed it anew as well.
   * @throws {@link RequestError} as {@link read} and {@link write}
   */
  async reseal(stored: StoredRecord): Promise<boolean> {
    const { name, version } = stored;
    if (this.#isBehind(stored)) throw rolledBack();
    const plaintext = this.#cipher.open({ name, version }, stored.value);
    const next = version + 1;
    const value = this.#cipher.seal({ name, version: next }, plaintext);
    plaintext.fill(0);
    const written = { name, expectedVersion: version, version: next, value, ...expiry(stored.expiresAtMs ?? null) };
    if (!(await this.#store.write([written])) || this.#isOvertaken(written)) return false;
    const seen = this.#seen.get(name);
    // When it may go is what its plaintext says, not what the store says of it.
    if (seen !== undefined) this.#remember(name, { ...seenOf(written, seen.isDeleted), expiresAtMs: seen.expiresAtMs });
    return true;
  }

  /**
   * True while nothing newer is known to stand in this record's place: what is kept of it may still be used. To ask is to
   * use it, so that what is in use is not forgotten.
   */
  isLatest({ name, version }: ReadRecord<unknown>): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.isDeleted) return false;
    this.#seen.delete(name);
    this.#seen.set(name, seen);
    return seen.version === version;
  }

  #isKnown({ name, version }: ReadRecord<unknown>, stored: StoredRecord): boolean {
    const seen = this.#seen.get(name);
    return (
      seen?.isDeleted === false &&
      name === stored.name &&
      version === stored.version &&
      seen.version === version &&
      seen.tag === hexTag(stored.value)
    );
  }

  #isOvertaken({ name, version, value }: { name: string; version: number; value: Uint8Array }): boolean {
    const seen = this.#seen.get(name);
    if (seen === undefined || seen.version < version) return false;
    return seen.version > version || seen.tag !== hexTag(value);
  }

  #isBasedOnLatest({ kind, name, read }: Change): boolean {
    const seen = this.#seen.get(kind.prefix + name);
    if (read === null) return seen === undefined || seen.isDeleted || this.#hasExpired(seen);
    return seen === undefined || (!seen.isDeleted && seen.version === read.version);
  }

  /** Values are checked on their way in: one that could not be read again would lock its owner out. */
  #seal({ kind, name, read, value }: Change, generation?: number): { change: SealedChange; isDeleted: boolean } {
    const full = kind.prefix + name;
    const seen = this.#seen.get(full);
    const isDeleted = value === undefined;
    // A deletion stands where the record was: what is made anew takes its place.
    const expectedVersion = read?.version ?? (seen?.isDeleted === true ? seen.version : 0);
    const version = Math.max(expectedVersion, seen?.version ?? 0) + 1;
    if (!isDeleted && !kind.schema.safeParse(value).success)
      throw new Error(`a value that is no ${kind.prefix} record`);
    const plaintext = isDeleted ? Uint8Array.of(DELETED) : encodeCbor(value as object);
    const sealed = this.#cipher.seal({ name: full, version }, plaintext, generation);
    plaintext.fill(0);
    if (sealed.length > MAX_RECORD_BYTES || full.length > MAX_RECORD_NAME_LENGTH) {
      throw new Error(`a ${kind.prefix} record of ${sealed.length} bytes, limit ${MAX_RECORD_BYTES}`);
    }
    const expiresAtMs = value === undefined ? null : (kind.expiresAtMs?.(value) ?? null);
    return { change: { name: full, expectedVersion, version, value: sealed, ...expiry(expiresAtMs) }, isDeleted };
  }

  /** Null for a deletion. */
  async #open<Value>(kind: RecordKind<Value>, stored: StoredRecord): Promise<ReadRecord<Value> | null> {
    const { name, version, value: sealed } = stored;
    const generation = generationOf(sealed);
    // The vault's own are what a generation is learnt from: who reads them has fetched its secret, or cannot.
    const isOfVault = name.startsWith(VAULT_PREFIX);
    if (generation !== null && !isOfVault && !this.#cipher.has(generation)) await this.#watch?.follow(generation);
    const plaintext = this.#cipher.open({ name, version }, sealed);
    try {
      const isDeleted = plaintext.length === 1 && plaintext[0] === DELETED;
      const value = isDeleted ? undefined : (decodeCbor(kind.schema, plaintext) as Value);
      if (value !== undefined) kind.settle?.(value);
      const expiresAtMs = value === undefined ? null : (kind.expiresAtMs?.(value) ?? null);
      this.#remember(name, { version, tag: hexTag(sealed), isDeleted, expiresAtMs });
      return value === undefined ? null : { name, version, value, sizeBytes: sealed.length };
    } finally {
      plaintext.fill(0);
    }
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

  #hasExpired({ expiresAtMs }: Seen): boolean {
    return expiresAtMs !== null && this.#nowMs() >= expiresAtMs;
  }

  #remember(name: string, now: Seen): void {
    const seen = this.#seen.get(name);
    // Answers can overtake one another: an older one must not lower what is known.
    if (seen !== undefined && seen.version > now.version && !this.#hasExpired(seen)) return;
    // At the end: the first in order is the one not touched for longest.
    this.#seen.delete(name);
    // The same one is not another for being seen again: a read that waits tells by that whether something was learnt.
    this.#seen.set(name, seen?.version === now.version && seen.tag === now.tag ? seen : now);
    const folder = folderOf(name);
    const names = this.#folders.get(folder) ?? new Set();
    names.add(name);
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

type SealedChange = StoredChange & { readonly value: Uint8Array };

/** What is kept says nothing of an end. */
function expiry(expiresAtMs: number | null): { readonly expiresAtMs?: number } {
  return expiresAtMs === null ? {} : { expiresAtMs };
}

function seenOf({ version, value, expiresAtMs }: SealedChange, isDeleted: boolean): Seen {
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
