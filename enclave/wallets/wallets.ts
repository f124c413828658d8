/** Wallets: born here, sealed at once, unsealed to sign. */
import {
  type Account,
  MAX_ACCOUNTS,
  MAX_RECORDS_PER_PAGE,
  type NewAccount,
  type NewWallet,
  RequestError,
  type Wallet,
} from "../../protocol/index.ts";
import { apart, secretOf } from "../custody/put-together.ts";
import { recoveryRecords } from "../custody/recovery-record.ts";
import type { Events, NewEvent } from "../events/events.ts";
import type { Randomness } from "../nsm/randomness.ts";
import type { User } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type ReadRecord, type Records } from "../vault/records.ts";
import { type Created, createMany } from "./create-many.ts";
import { createOne } from "./create-one.ts";
import { exactAccount, isSame, makeAccount } from "./make-accounts.ts";
import { makeSecret, makeWallet } from "./make-wallet.ts";
import { OpenWallet } from "./open-wallet.ts";
import { WalletCache } from "./wallet-cache.ts";
import {
  walletName as nameOf,
  type Owner,
  publicAccount,
  publicPart,
  type StoredWallet,
  type WalletSecret,
  type WalletValue,
  walletRecords,
  wipe,
  wipeSecret,
} from "./wallet-value.ts";

export type { Owner } from "./wallet-value.ts";

/** Who changes a wallet: the owner, by a session, a passkey or an API key. */
export interface Asker extends Owner {
  readonly by: string;
}

/** What comes of a look at a wallet's record. */
type Decision<Result> =
  | { readonly kind: "leave"; readonly result: Result }
  | {
      readonly kind: "write";
      readonly changes: readonly Change[];
      readonly event: Omit<NewEvent, "by">;
      readonly result: Result;
      /** The owner, if more changes of them than their events. */
      readonly user?: User;
    };

export interface ImportedWallet {
  readonly wallet: Wallet;
  /** SHA-256 of the bundle that it came in. */
  readonly importedAs: Uint8Array | null;
}

export interface WalletsOptions {
  readonly records: Records;
  readonly ids: Ids;
  readonly users: Users;
  readonly events: Events;
  readonly randomness: Randomness;
  readonly nowMs: () => number;
  /** Of what one thread may keep: 1 where there is but one. */
  readonly part?: number;
}

/** What a request makes of them. */
interface ForRequest {
  /** What it brought of a split wallet. */
  readonly share?: string | undefined;
  /** As {@link WalletCache.read} takes it. */
  readonly maxAgeMs?: number;
}

export class Wallets {
  readonly #options: WalletsOptions;
  readonly #cache: WalletCache;
  readonly #forRequest: ForRequest;
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #events: Events;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;

  constructor(options: WalletsOptions, cache: WalletCache = new WalletCache(options), forRequest: ForRequest = {}) {
    this.#options = options;
    this.#cache = cache;
    this.#forRequest = forRequest;
    this.#records = options.records;
    this.#ids = options.ids;
    this.#users = options.users;
    this.#events = options.events;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
  }

  /** The same wallets, for a request that brings a device's share: it opens the split wallet whose share it is. */
  bringing(share: string | undefined): Wallets {
    return share === undefined ? this : new Wallets(this.#options, this.#cache, { ...this.#forRequest, share });
  }

  /** The same wallets, opened as they stand in the records now, whatever was opened a moment ago. */
  lookingAnew(): Wallets {
    return new Wallets(this.#options, this.#cache, { ...this.#forRequest, maxAgeMs: 0 });
  }

  /** Wipes what signed lately and does so no more. To be asked now and then. */
  forgetIdle(): void {
    this.#cache.forgetIdle();
  }

  /** Wipes all that is kept open. */
  close(): void {
    this.#cache.close();
  }

  /**
   * Makes a wallet. Its id comes from the request's, so a retried creation finds the same wallet, unless the parent has
   * lost it: what the parent can lose, it can lose before an enclave boots and have made anew.
   *
   * @throws {@link RequestError} `INVALID_PARAMS` for accounts that it cannot have, `RECORD_CONFLICT` for the same request
   *   id with another wallet, and what records throw
   */
  async create(asker: Asker, requestId: string, asked: NewWallet): Promise<Wallet> {
    const walletId = this.#idOf(asker, requestId);
    const made = makeWallet(await makeSecret(asked, this.#randomness), asked.accounts, this.#nowMs());
    try {
      return await createOne(asker, { walletId, asked, made }, this.#options);
    } finally {
      this.#cache.drop(nameOf(asker, walletId));
      wipe(made);
    }
  }

  /** As {@link create}, many at once, each with an id of its own that comes from the request's. @throws as {@link createMany} */
  async createMany(asker: Asker, requestId: string, asked: readonly NewWallet[]): Promise<readonly Created[]> {
    return await createMany(asker, asked, { ...this.#options, idOf: (at) => this.#idOf(asker, `${requestId}/${at}`) });
  }

  /**
   * Adds accounts to a wallet, those that it does not have yet.
   *
   * @returns All that were asked for, in that order.
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `INVALID_PARAMS`, `TOO_MANY_ACCOUNTS`, `RECORD_CONFLICT`, and what
   *   records throw
   */
  async addAccounts(asker: Asker, walletId: string, asked: readonly NewAccount[]): Promise<readonly Account[]> {
    return await this.#change(asker, walletId, async (record) => {
      if (record === null) throw notFound();
      const whole = await this.#whole(walletId, record.value);
      try {
        const { accounts, all } = withAccounts(whole, asked);
        const added = all.accounts.length - record.value.accounts.length;
        // From now on the record's value stands for all of it, and is wiped as such.
        record.value.accounts.push(...all.accounts.slice(record.value.accounts.length));
        if (added === 0) return { kind: "leave", result: accounts };
        const stored = whole.secret === record.value.secret ? all : apart(all, record.value.secret);
        const event = { kind: "accounts-created", details: { walletId, added: `${added}` } } as const;
        return this.#write(asker, walletId, record, stored, event, accounts);
      } finally {
        if (whole.secret !== record.value.secret) wipeSecret(whole.secret);
      }
    });
  }

  /** The wallet that an import has made, if it has. @throws {@link RequestError} what reading records throws */
  async imported(owner: Owner, importId: string): Promise<ImportedWallet | null> {
    const walletId = this.#idOf(owner, importId);
    const record = await this.#records.read(walletRecords, nameOf(owner, walletId));
    if (record === null) return null;
    wipe(record.value);
    return { wallet: publicPart(walletId, record.value), importedAs: record.value.importedAs };
  }

  /**
   * Takes a secret in that came from outside, under the id of its import.
   *
   * @param secret - Taken over.
   * @throws {@link RequestError} `IMPORT_TARGET_USED`, `RECORD_CONFLICT`, and what records throw
   */
  async adopt(
    asker: Asker,
    { importId, importedAs }: { readonly importId: string; readonly importedAs: Uint8Array },
    secret: WalletSecret,
    accounts: readonly NewAccount[] | undefined,
  ): Promise<Wallet> {
    const walletId = this.#idOf(asker, importId);
    const made = { ...makeWallet(secret, accounts, this.#nowMs()), importedAs };
    try {
      return await this.#change(asker, walletId, (record) => {
        if (record === null) {
          const event = { kind: "wallet-imported", details: { walletId, kind: secret.kind, importId } } as const;
          return this.#write(asker, walletId, null, made, event, publicPart(walletId, made));
        }
        // Written by an attempt whose answer was lost.
        const { importedAs: earlier } = record.value;
        if (earlier !== null && Buffer.compare(earlier, importedAs) === 0) {
          return { kind: "leave", result: publicPart(walletId, record.value) };
        }
        throw new RequestError("IMPORT_TARGET_USED", "this target has received another secret");
      });
    } finally {
      wipe(made);
    }
  }

  /**
   * Notes that a secret leaves, before it does.
   *
   * @param isWhole - Whether it is all that the wallet is.
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `RECORD_CONFLICT`, and what records throw
   */
  async noteExport(
    asker: Asker,
    walletId: string,
    isWhole: boolean,
    details: Readonly<Record<string, string>>,
  ): Promise<void> {
    await this.#change(asker, walletId, (record) => {
      if (record === null) throw notFound();
      const exportedAtMs = isWhole ? this.#nowMs() : record.value.exportedAtMs;
      const event = { kind: "wallet-exported", details: { walletId, ...details } } as const;
      return this.#write(asker, walletId, record, { ...record.value, exportedAtMs }, event, undefined);
    });
  }

  /**
   * Destroys a wallet that has been exported whole, or whose loss the caller says they mean.
   *
   * @param close - What else of the owner changes in the same write.
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `WALLET_NOT_EXPORTED`, `RECORD_CONFLICT`, and what records throw
   */
  async delete(
    asker: Asker,
    walletId: string,
    withoutExport: boolean,
    close: (user: User) => Promise<{ readonly user: User; readonly changes: readonly Change[] }>,
  ): Promise<void> {
    await this.#change(asker, walletId, async (record, user) => {
      if (record === null) throw notFound();
      const name = nameOf(asker, walletId);
      const recovery = await this.#records.read(recoveryRecords, name);
      recovery?.value.share.fill(0);
      const also = recovery === null ? [] : [change(recoveryRecords, name, recovery, undefined)];
      const { exportedAtMs } = record.value;
      if (exportedAtMs === null && !withoutExport) {
        throw new RequestError(
          "WALLET_NOT_EXPORTED",
          "its secret was never exported whole, and would be lost: export it, or say that you mean it",
        );
      }
      const details = { walletId, exported: exportedAtMs === null ? "never" : `${exportedAtMs}` };
      const closed = await close(user);
      const event = { kind: "wallet-deleted", details } as const;
      also.push(...closed.changes);
      return { ...this.#write(asker, walletId, record, undefined, event, undefined, also), user: closed.user };
    });
  }

  /** Destroys all of an owner's wallets, without events. @returns How many there were. */
  async erase(owner: Owner): Promise<number> {
    const folder = nameOf(owner, "");
    await this.#records.erase(recoveryRecords, folder, ({ share }) => share.fill(0));
    try {
      return await this.#records.erase(walletRecords, folder, wipe);
    } finally {
      this.#cache.dropUnder(folder);
    }
  }

  /** One page of the user's wallets, in the order of their ids. The parent can leave out what this boot has not seen. */
  async list(
    owner: Owner,
    after: string | null,
  ): Promise<{ readonly wallets: readonly Wallet[]; readonly more: boolean }> {
    const under = nameOf(owner, "");
    const page = await this.#records.list(walletRecords, under, after === null ? null : under + after);
    const wallets = page.map(({ name, value }) => {
      const wallet = publicPart(name.slice((walletRecords.prefix + under).length), value);
      wipe(value);
      return wallet;
    });
    return { wallets, more: wallets.length === MAX_RECORDS_PER_PAGE };
  }

  /**
   * Opens a wallet for one piece of work; whoever opens it disposes of it.
   *
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `SHARE_…`, and what reading records throws
   */
  async open(owner: Owner, walletId: string): Promise<OpenWallet> {
    const stored = await this.#cache.read(nameOf(owner, walletId), this.#forRequest.maxAgeMs);
    if (stored === null) throw notFound();
    try {
      return new OpenWallet(walletId, await this.#whole(walletId, stored));
    } finally {
      if (stored.secret.kind === "split") wipe(stored);
    }
  }

  /** A wallet with its secret: as it was read, or put together with the share that the request brought. */
  async #whole(walletId: string, stored: StoredWallet): Promise<WalletValue> {
    const { secret } = stored;
    if (secret.kind === "split") {
      const random = (length: number) => this.#randomness.bytes(length);
      return {
        ...stored,
        secret: await secretOf(secret, { walletId, role: "device", brought: this.#forRequest.share }, random),
      };
    }
    if (this.#forRequest.share === undefined) return { ...stored, secret };
    wipe(stored);
    throw new RequestError("SHARE_UNEXPECTED", "this wallet is not split: it takes no share");
  }

  #idOf({ appId, userId }: Owner, madeBy: string): string {
    return this.#ids.derive("wal", [appId, userId, madeBy]);
  }

  /**
   * Changes a wallet together with its owner's events, or not at all; `decide` is asked again if something else came
   * between. The record's secrets are wiped in the end.
   */
  async #change<Result>(
    { appId, userId, by }: Asker,
    walletId: string,
    decide: (record: ReadRecord<StoredWallet> | null, user: User) => Decision<Result> | Promise<Decision<Result>>,
  ): Promise<Result> {
    const name = nameOf({ appId, userId }, walletId);
    const read: StoredWallet[] = [];
    try {
      return await this.#users.change(appId, userId, async (user) => {
        const record = await this.#records.read(walletRecords, name);
        if (record !== null) read.push(record.value);
        const decision = await decide(record, user);
        if (decision.kind === "leave") return decision;
        const added = this.#events.add(appId, userId, decision.user ?? user, { ...decision.event, by });
        return { kind: "write", user: added.user, also: [...decision.changes, added.also], result: decision.result };
      });
    } finally {
      // Whatever came of the write: what is kept of the wallet may be what it was.
      this.#cache.drop(name);
      for (const value of read) wipe(value);
    }
  }

  #write<Result>(
    owner: Owner,
    walletId: string,
    read: ReadRecord<StoredWallet> | null,
    value: StoredWallet | undefined,
    event: Omit<NewEvent, "by">,
    result: Result,
    also: readonly Change[] = [],
  ): Decision<Result> {
    const changes = [change(walletRecords, nameOf(owner, walletId), read, value), ...also];
    return { kind: "write", changes, event, result };
  }
}

function notFound(): RequestError {
  return new RequestError("WALLET_NOT_FOUND", "this user has no such wallet in this app");
}

/** A wallet with some more accounts; it shares its secrets with the one that it came from. */
function withAccounts(
  value: WalletValue,
  asked: readonly NewAccount[],
): { readonly accounts: readonly Account[]; readonly all: WalletValue } {
  const all: WalletValue = { ...value, accounts: [...value.accounts] };
  try {
    const accounts = asked.map((account) => {
      const exact = exactAccount(account, value.secret);
      const there = all.accounts.find((held) => isSame(held, exact));
      if (there !== undefined) return publicAccount(there);
      if (all.accounts.length >= MAX_ACCOUNTS) {
        throw new RequestError("TOO_MANY_ACCOUNTS", `a wallet has at most ${MAX_ACCOUNTS} accounts`);
      }
      const made = makeAccount(exact, value.secret);
      all.accounts.push(made);
      return publicAccount(made);
    });
    return { accounts, all };
  } catch (error) {
    for (const { privateKey } of all.accounts) privateKey?.fill(0);
    throw error;
  }
}
