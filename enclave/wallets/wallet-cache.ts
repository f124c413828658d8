/**
 * Wallets that sign again and again, opened already: to fetch, decrypt, decode and check the same record for each
 * signature costs as much as the signature. Their keys are in memory for as long as that lasts, and a bounded time after
 * it (docs/decisions/0521-open-wallets-are-kept-for-a-minute.md). What is handed out is a copy, for its user to wipe.
 */
import { RecencyMap } from "../recency-map.ts";
import { TRUSTED_FOR_MS } from "../vault/fresh-cache.ts";
import type { ReadRecord, Records } from "../vault/records.ts";
import { copyOf, type StoredWallet, walletRecords, wipe } from "./wallet-value.ts";

/** Since it was last opened. {@link WalletCache.forgetIdle} is asked every ten seconds: seventy at most. */
export const KEPT_IDLE_MS = 60_000;
const MAX_KEPT = 1_000;
/** As they are stored. */
const MAX_KEPT_BYTES = 4 * 1024 * 1024;
/** Names alone, without anything secret. */
const MAX_OPENED = 10_000;

interface Kept {
  readonly read: ReadRecord<StoredWallet>;
  /** When the store was asked, not when it answered. */
  readonly askedAtMs: number;
  readonly openedAtMs: number;
}

export class WalletCache {
  readonly #records: Records;
  readonly #nowMs: () => number;
  readonly #maxKept: number;
  readonly #maxKeptBytes: number;
  readonly #kept = new RecencyMap<string, Kept>();
  readonly #openedAtMs = new RecencyMap<string, number>(MAX_OPENED);
  #keptBytes = 0;
  #isClosed = false;

  constructor(options: {
    readonly records: Records;
    readonly nowMs: () => number;
    readonly maxKept?: number;
    readonly part?: number;
  }) {
    this.#records = options.records;
    this.#nowMs = options.nowMs;
    this.#maxKept = options.maxKept ?? Math.ceil(MAX_KEPT * (options.part ?? 1));
    this.#maxKeptBytes = MAX_KEPT_BYTES * (options.part ?? 1);
  }

  /**
   * @param name - Of its record, after the kind's prefix.
   * @param maxAgeMs - How old it may be by what other enclaves have done since; 0 for what stands there now.
   * @returns The caller's own, to wipe.
   * @throws {@link RequestError} what reading records throws
   */
  async read(name: string, maxAgeMs: number = TRUSTED_FOR_MS): Promise<StoredWallet | null> {
    const nowMs = this.#nowMs();
    const kept = this.#usable(name, nowMs);
    if (kept !== null && maxAgeMs > 0 && kept.askedAtMs > nowMs - maxAgeMs) {
      this.#keep(name, { ...kept, openedAtMs: nowMs });
      return copyOf(kept.read.value);
    }
    const known = kept?.read ?? null;
    let read = await this.#records.read(walletRecords, name, known);
    if (read !== null && read === known && this.#kept.get(name)?.read !== known) {
      // Wiped while the store was asked: that is no key any more.
      read = await this.#records.read(walletRecords, name);
    }
    if (read === null) {
      this.drop(name);
      return null;
    }
    const isKept = this.#kept.get(name)?.read === read;
    const isAgain = this.#noteOpened(name, nowMs);
    // One that signs once is not kept for it. A split one never is: what is put together of it, nobody has but the request.
    if (!isKept && (!isAgain || read.value.secret.kind === "split")) return read.value;
    // A write, or the end, may have come while this was on its way.
    if (this.#isClosed || !this.#records.isLatest(read)) {
      const value = copyOf(read.value);
      if (isKept) this.drop(name);
      else wipe(read.value);
      return value;
    }
    this.#keep(name, { read, askedAtMs: nowMs, openedAtMs: nowMs });
    return copyOf(read.value);
  }

  /** Wipes one, kept or not. */
  drop(name: string): void {
    this.#openedAtMs.delete(name);
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    this.#kept.delete(name);
    this.#keptBytes -= kept.read.sizeBytes;
    wipe(kept.read.value);
  }

  /** Wipes all of a folder. */
  dropUnder(folder: string): void {
    for (const [name] of this.#kept) if (name.startsWith(folder)) this.drop(name);
  }

  /** Wipes what was not opened for {@link KEPT_IDLE_MS}, and what does not stand there any more: another thread may have deleted it. */
  forgetIdle(): void {
    const nowMs = this.#nowMs();
    for (const [name, kept] of this.#kept) {
      if (isIdle(kept, nowMs) || !this.#records.isLatest(kept.read)) this.drop(name);
    }
  }

  /** Wipes all, and keeps nothing from now on. */
  close(): void {
    this.#isClosed = true;
    this.dropUnder("");
  }

  get size(): number {
    return this.#kept.size;
  }

  #usable(name: string, nowMs: number): Kept | null {
    const kept = this.#kept.get(name);
    if (kept === undefined) return null;
    if (!isIdle(kept, nowMs) && this.#records.isLatest(kept.read)) return kept;
    this.drop(name);
    return null;
  }

  #keep(name: string, kept: Kept): void {
    const before = this.#kept.get(name);
    if (before !== undefined && before.read !== kept.read) this.drop(name);
    else if (before !== undefined) this.#keptBytes -= before.read.sizeBytes;
    this.#kept.set(name, kept);
    this.#keptBytes += kept.read.sizeBytes;
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= this.#maxKept && this.#keptBytes <= this.#maxKeptBytes) return;
      this.drop(oldest);
    }
  }

  /** @returns Whether it was opened within the last {@link KEPT_IDLE_MS} as well. */
  #noteOpened(name: string, nowMs: number): boolean {
    const beforeMs = this.#openedAtMs.get(name);
    this.#openedAtMs.set(name, nowMs);
    return beforeMs !== undefined && beforeMs > nowMs - KEPT_IDLE_MS;
  }
}

function isIdle({ openedAtMs }: Kept, nowMs: number): boolean {
  return openedAtMs <= nowMs - KEPT_IDLE_MS;
}
