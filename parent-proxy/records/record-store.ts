/** Where records are kept. The parent sees names, versions and sizes; values are ciphertext to it. */
import type { RecordsCall, StoredRecord } from "../../protocol/index.ts";

export type RecordChange = Extract<RecordsCall, { readonly kind: "write" }>["changes"][number];
export type ListQuery = Omit<Extract<RecordsCall, { readonly kind: "list" }>, "id" | "kind">;

export type WriteOutcome =
  | { readonly kind: "written" }
  /** Nothing was changed. `name`: the first change, in the order given, whose record is not at its expected version. */
  | { readonly kind: "conflict"; readonly name: string };

/**
 * What every store promises; `test/parent-proxy/record-store-conformance.ts` checks it. Each call sees every write
 * that was answered before the call was made. A rejected write may or may not have been made.
 */
export interface RecordStore {
  get(name: string): Promise<StoredRecord | null>;

  /**
   * Makes every change or none, in the order given, so that a later change sees an earlier one of the same name.
   * `expectedVersion` 0 means that there is no such record. Resolves when the changes would survive a loss of power.
   */
  write(changes: readonly RecordChange[]): Promise<WriteOutcome>;

  /** Records whose names begin with `prefix` and sort after `after`, by the bytes of their names, `limit` at most. */
  list(query: ListQuery): Promise<readonly StoredRecord[]>;

  /**
   * Drops records that may go by themselves since before `beforeMs`, `limit` at most.
   *
   * @returns How many there were.
   */
  removeExpired(beforeMs: number, limit: number): Promise<number>;

  /** Finishes writes under way. */
  close(): Promise<void>;
}
