/**
 * Records as the rest of the enclave sees them: typed, sealed, and never older than what this enclave has seen. While
 * it lives it remembers of every record the version and the tag that it last read or wrote, so that the parent can
 * neither bring back an older one, nor a sibling of the same version, nor pretend that there is none. Across a restart
 * nothing inside Nitro remembers (docs/threat-model.md, "Rollback").
 */
import { decodeCbor, encodeCbor, MAX_RECORDS_PER_PAGE, RequestError, type z } from "../../protocol/index.ts";
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
}

/** One change of an atomic write; `read` is what the change is based on, null for a record that must not be there. */
export type Change = {
  readonly name: string;
  readonly read: ReadRecord<unknown> | null;
  /** Undefined deletes. */
  readonly value: unknown;
};

interface Seen {
  readonly version: number;
  /** Hex; null for a record that was deleted at this version. */
  readonly tag: string | null;
}

export class Records {
  readonly #store: RecordStore;
  readonly #cipher: RecordCipher;
  readonly #seen = new Map<string, Seen>();
  /** Names of records that are known to exist, by their folder: what a list must not leave out. */
  readonly #folders = new Map<string, Set<string>>();

  constructor(store: RecordStore, cipher: RecordCipher) {
    this.#store = store;
    this.#cipher = cipher;
  }

  /** @throws {@link RequestError} `RECORD_TAMPERED`, `RECORD_ROLLED_BACK`, `RECORDS_UNAVAILABLE` */
  async read<Value>(kind: RecordKind<Value>, name: string): Promise<ReadRecord<Value> | null> {
    const full = kind.prefix + name;
    const stored = await this.#store.get(full);
    if (stored === null) {
      if (this.#isKnown(full)) throw rolledBack();
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
    if (known.some((name) => isOnPage(name) && !listed.has(name) && this.#isKnown(name))) throw rolledBack();
    return stored.map((record) => this.#open(kind, record));
  }

  /**
   * Makes all changes or none.
   *
   * @returns False if another write came between: read again, decide again.
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`: unknown whether they were made; the next read tells.
   */
  async write(changes: readonly Change[]): Promise<boolean> {
    // The store would say so too, unless it pretends that there is no such record.
    if (changes.some(({ name, read }) => read === null && this.#isKnown(name))) return false;
    const stored = changes.map((change): StoredChange => {
      const expectedVersion = change.read?.version ?? 0;
      const version = Math.max(expectedVersion, this.#seen.get(change.name)?.version ?? 0) + 1;
      if (change.value === undefined) return { name: change.name, expectedVersion, version, value: null };
      const plaintext = encodeCbor(change.value);
      const value = this.#cipher.seal({ name: change.name, version }, plaintext);
      plaintext.fill(0);
      return { name: change.name, expectedVersion, version, value };
    });
    if (!(await this.#store.write(stored))) return false;
    for (const { name, version, value } of stored) this.#remember(name, version, value);
    return true;
  }

  #open<Value>(
    kind: RecordKind<Value>,
    stored: { name: string; version: number; value: Uint8Array },
  ): ReadRecord<Value> {
    const { name, version, value: sealed } = stored;
    const seen = this.#seen.get(name);
    if (seen !== undefined) {
      const isOlder = version < seen.version;
      const isSibling = version === seen.version && seen.tag !== hexTag(sealed);
      if (isOlder || isSibling) throw rolledBack();
    }
    const plaintext = this.#cipher.open({ name, version }, sealed);
    try {
      const value = decodeCbor(kind.schema, plaintext) as Value;
      this.#remember(name, version, sealed);
      return { name, version, value };
    } finally {
      plaintext.fill(0);
    }
  }

  #isKnown(name: string): boolean {
    const seen = this.#seen.get(name);
    return seen !== undefined && seen.tag !== null;
  }

  #remember(name: string, version: number, sealed: Uint8Array | null): void {
    const seen = this.#seen.get(name);
    // Answers can overtake one another: an older one must not lower what is known.
    if (seen !== undefined && seen.version > version) return;
    this.#seen.set(name, { version, tag: sealed === null ? null : hexTag(sealed) });
    const folder = name.slice(0, name.lastIndexOf("/") + 1);
    const names = this.#folders.get(folder) ?? new Set();
    if (sealed === null) names.delete(name);
    else names.add(name);
    this.#folders.set(folder, names);
  }
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
