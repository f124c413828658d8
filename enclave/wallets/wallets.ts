/** Wallets: born here, sealed at once, unsealed for one signature. */
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
import type { Randomness } from "../nsm/randomness.ts";
import { Turns } from "../users/turns.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { exactAccount, isSame, makeAccount } from "./make-accounts.ts";
import { isAsAsked, makeSecret, makeWallet } from "./make-wallet.ts";
import { OpenWallet } from "./open-wallet.ts";
import {
  walletName as nameOf,
  type Owner,
  publicAccount,
  publicPart,
  type StoredWallet,
  type WalletValue,
  walletRecords,
  wipe,
} from "./wallet-value.ts";

export type { Owner } from "./wallet-value.ts";

export interface WalletsOptions {
  readonly records: Records;
  readonly ids: Ids;
  readonly randomness: Randomness;
  readonly nowMs: () => number;
}

const MAX_ATTEMPTS = 5;

export class Wallets {
  readonly #options: WalletsOptions;
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;
  readonly #turns: Turns;
  /** What the request brought of a split wallet. */
  readonly #share: string | undefined;

  constructor(options: WalletsOptions, bound: { readonly turns: Turns; readonly share: string } | null = null) {
    this.#options = options;
    this.#records = options.records;
    this.#ids = options.ids;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
    this.#turns = bound?.turns ?? new Turns();
    this.#share = bound?.share;
  }

  /** The same wallets, for a request that brings a device's share: it opens the split wallet whose share it is. */
  bringing(share: string): Wallets {
    return new Wallets(this.#options, { turns: this.#turns, share });
  }

  /**
   * Makes a wallet. Its id comes from the request's, so a retried creation finds the same wallet, unless the parent has
   * lost it: what the parent can lose, it can lose before an enclave boots and have made anew.
   *
   * @throws {@link RequestError} `INVALID_PARAMS` for accounts that it cannot have, `RECORD_CONFLICT` for the same request
   *   id with another wallet, and what records throw
   */
  async create(owner: Owner, requestId: string, asked: NewWallet): Promise<Wallet> {
    const walletId = this.#ids.derive("wal", [owner.appId, owner.userId, requestId]);
    const name = nameOf(owner, walletId);
    const value = makeWallet(await makeSecret(asked, this.#randomness), asked.accounts, this.#nowMs());
    try {
      if (await this.#records.write([change(walletRecords, name, null, value)])) {
        return publicPart(walletId, value);
      }
    } finally {
      wipe(value);
    }
    const existing = await this.#records.read(walletRecords, name);
    if (existing === null) throw new RequestError("RECORD_CONFLICT", "the record store contradicts itself: try again");
    const { secret } = existing.value;
    const isSameWallet = secret.kind !== "split" && isAsAsked({ ...existing.value, secret }, asked);
    wipe(existing.value);
    if (isSameWallet) return publicPart(walletId, existing.value);
    throw new RequestError("RECORD_CONFLICT", "this request id made another wallet: use a new one");
  }

  /**
   * Adds accounts to a wallet, those that it does not have yet.
   *
   * @returns All that were asked for, in that order.
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `INVALID_PARAMS`, `TOO_MANY_ACCOUNTS`, `RECORD_CONFLICT`, and what
   *   records throw
   */
  async addAccounts(owner: Owner, walletId: string, asked: readonly NewAccount[]): Promise<readonly Account[]> {
    const name = nameOf(owner, walletId);
    return this.#turns.take(name, async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const record = await this.#read(name);
        const { accounts, all, isMore } = withAccounts(await this.#together(walletId, record.value), asked);
        const stored = record.value.secret.kind === "split" ? apart(all, record.value) : all;
        try {
          if (!isMore || (await this.#records.write([change(walletRecords, name, record, stored)]))) return accounts;
        } finally {
          wipe(all);
          wipe(stored);
        }
      }
      throw new RequestError("RECORD_CONFLICT", "the wallet keeps changing: try again");
    });
  }

  /** One page of the user's wallets, in the order of their ids. The parent can leave out what this boot has not seen. */
  async list(
    owner: Owner,
    after: string | null,
  ): Promise<{ readonly wallets: readonly Wallet[]; readonly more: boolean }> {
    const under = nameOf(owner, "");
    const page = await this.#records.list(walletRecords, under, after === null ? null : under + after);
    const wallets = page.map(({ name, value }) => {
      wipe(value);
      return publicPart(name.slice((walletRecords.prefix + under).length), value);
    });
    return { wallets, more: wallets.length === MAX_RECORDS_PER_PAGE };
  }

  /**
   * Opens a wallet for one piece of work; whoever opens it disposes of it.
   *
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `SHARE_…`, and what reading records throws
   */
  async open(owner: Owner, walletId: string): Promise<OpenWallet> {
    const { value } = await this.#read(nameOf(owner, walletId));
    return new OpenWallet(walletId, await this.#together(walletId, value));
  }

  /** A wallet with its secret. Takes over what was read. */
  async #together(walletId: string, stored: StoredWallet): Promise<WalletValue> {
    const { secret } = stored;
    if (secret.kind !== "split") {
      if (this.#share === undefined) return { ...stored, secret };
      wipe(stored);
      throw new RequestError("SHARE_UNEXPECTED", "this wallet is not split: it takes no share");
    }
    try {
      const random = (length: number) => this.#randomness.bytes(length);
      return { ...stored, secret: await secretOf(secret, { walletId, role: "device", brought: this.#share }, random) };
    } finally {
      wipe(stored);
    }
  }

  async #read(name: string): Promise<ReadRecord<StoredWallet>> {
    const record = await this.#records.read(walletRecords, name);
    if (record === null) throw new RequestError("WALLET_NOT_FOUND", "this user has no such wallet in this app");
    return record;
  }
}

/** A wallet with some more accounts. Takes the value over: what comes back shares its keys, and is wiped in its place. */
function withAccounts(
  value: WalletValue,
  asked: readonly NewAccount[],
): { readonly accounts: readonly Account[]; readonly all: WalletValue; readonly isMore: boolean } {
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
    return { accounts, all, isMore: all.accounts.length > value.accounts.length };
  } catch (error) {
    wipe(all);
    throw error;
  }
}
