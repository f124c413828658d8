/**
 * Records as the rest of the enclave sees them: typed, sealed, and never older than what this enclave has seen
 * (`fresh-records.ts`). Across a restart nothing inside Nitro remembers (docs/threat-model.md, "Rollback").
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
import { FreshRecords, type Given, NO_MARK, type SealedChange, type SealedStore, seenOf } from "./fresh-records.ts";
import { generationOf, type RecordCipher } from "./record-cipher.ts";
import type { StoredChange } from "./record-store.ts";

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

/** Which generations of the vault there are is for several enclaves to agree on: `vault-rotation.ts`. */
export interface GenerationWatch {
  /** Learns of a generation that a record names, if there is such a one. Rejects where that cannot be told now. */
  follow(generation: number): Promise<void>;
  /** Makes sure that what is sealed now is sealed under a generation which others still read. */
  beforeSealing(): Promise<void>;
}

/** Of the vault's own records. */
const VAULT_PREFIX = "keys/";
/** CBOR's null, which no kind's schema takes. */
const DELETED = 0xf6;

export class Records {
  /** What it remembers, and what signing workers ask. */
  readonly sealed: FreshRecords;
  readonly #cipher: RecordCipher;
  #watch: GenerationWatch | undefined;

  /** @param nowMs - The trusted clock; where it stands still, no record expires. */
  constructor(store: SealedStore, cipher: RecordCipher, maxRemembered?: number, nowMs?: () => number) {
    this.sealed = new FreshRecords(store, maxRemembered, nowMs);
    this.#cipher = cipher;
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
    const given = await this.sealed.get(kind.prefix + name);
    if (given === null) return null;
    if (known !== null && this.sealed.isKnown(known, given)) return known;
    return await this.#open(kind, given);
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
      const page = await this.sealed.list(kind.prefix + under, from);
      for (const stored of page) {
        const read = await this.#open(kind, { stored, mark: NO_MARK });
        if (read !== null) found.push(read);
        if (found.length === MAX_RECORDS_PER_PAGE) return found;
      }
      if (page.length < MAX_RECORDS_PER_PAGE) return found;
      from = page.at(-1)?.name ?? null;
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
    const deleted = new Set(sealed.filter((_, at) => changes[at]?.value === undefined).map(({ name }) => name));
    return await this.sealed.write(sealed, deleted, also.unsealed);
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
   * Gives a page of all records, whatever their kind, to {@link sealAnew} one by one.
   *
   * @throws {@link RequestError} `RECORDS_UNAVAILABLE`
   */
  pageOfAll(after: string | null): Promise<readonly StoredRecord[]> {
    return this.sealed.pageOfAll(after);
  }

  /**
   * Seals a record anew, under the cipher's present generation, without looking at what it says, for {@link replace}.
   *
   * @returns Null for one that was listed before a write which this enclave knows of.
   * @throws {@link RequestError} as {@link read}
   */
  async sealAnew(stored: StoredRecord): Promise<SealedChange | null> {
    const { name, version } = stored;
    if (await this.sealed.isOvertaken(stored)) return null;
    const plaintext = this.#cipher.open({ name, version }, stored.value);
    const next = version + 1;
    const value = this.#cipher.seal({ name, version: next }, plaintext);
    plaintext.fill(0);
    return { name, expectedVersion: version, version: next, value, ...expiry(stored.expiresAtMs ?? null) };
  }

  /** As {@link FreshRecords.replace}. */
  replace(sealedAnew: readonly SealedChange[]): Promise<number | null> {
    return this.sealed.replace(sealedAnew);
  }

  /** As {@link FreshRecords.isLatest}. */
  isLatest(read: ReadRecord<unknown>): boolean {
    return this.sealed.isLatest(read);
  }

  /** Values are checked on their way in: one that could not be read again would lock its owner out. */
  #seal({ kind, name, read, value }: Change, generation?: number): SealedChange {
    const full = kind.prefix + name;
    const seen = this.sealed.seen(full);
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
    return { name: full, expectedVersion, version, value: sealed, ...expiry(expiresAtMs) };
  }

  /** Null for a deletion. */
  async #open<Value>(kind: RecordKind<Value>, { stored, mark }: Given): Promise<ReadRecord<Value> | null> {
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
      this.sealed.remember(name, seenOf({ version, value: sealed, expiresAtMs }, isDeleted), mark);
      return value === undefined ? null : { name, version, value, sizeBytes: sealed.length };
    } finally {
      plaintext.fill(0);
    }
  }
}

/** What is kept says nothing of an end. */
function expiry(expiresAtMs: number | null): { readonly expiresAtMs?: number } {
  return expiresAtMs === null ? {} : { expiresAtMs };
}
