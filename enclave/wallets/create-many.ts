/** Wallets by the hundred, in as few writes as there is room for: some sixty of them and one event in each. */
import { MAX_RECORD_CHANGES, type NewWallet, RequestError, type Wallet } from "../../protocol/index.ts";
import type { Events } from "../events/events.ts";
import type { Randomness } from "../nsm/randomness.ts";
import type { Users } from "../users/users.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { exactAccount, isSame } from "./make-accounts.ts";
import { isAsAsked, makeSecret, makeWallet } from "./make-wallet.ts";
import { publicPart, type StoredWallet, type WalletValue, walletName, walletRecords, wipe } from "./wallet-value.ts";
import type { Asker } from "./wallets.ts";

/** Beside the user and the event. */
const WALLETS_PER_WRITE = MAX_RECORD_CHANGES - 2;

export type Created = { readonly wallet: Wallet } | { readonly error: unknown };

export interface CreateManyServices {
  readonly records: Records;
  readonly users: Users;
  readonly events: Events;
  readonly randomness: Randomness;
  readonly nowMs: () => number;
  /** Of the wallet at this place of the batch. */
  readonly idOf: (at: number) => string;
}

interface Making {
  readonly walletId: string;
  readonly asked: NewWallet;
  readonly made: WalletValue;
}

/**
 * Makes all wallets, or finds them where the same request made them before. Each write is made whole or not at all. One
 * that fails ends the batch: what it held, and what would have come after it, has its error for a result.
 *
 * @throws {@link RequestError} what the first write throws: then there is no result at all
 */
export async function createMany(
  asker: Asker,
  asked: readonly NewWallet[],
  services: CreateManyServices,
): Promise<readonly Created[]> {
  const results: Created[] = [];
  while (results.length < asked.length) {
    const from = results.length;
    try {
      results.push(...(await createChunk(asker, asked.slice(from, from + WALLETS_PER_WRITE), from, services)));
    } catch (error) {
      if (from === 0) throw error;
      results.push(...asked.slice(from).map(() => ({ error })));
    }
  }
  return results;
}

async function createChunk(
  asker: Asker,
  asked: readonly NewWallet[],
  from: number,
  services: CreateManyServices,
): Promise<readonly Created[]> {
  const tries = await Promise.all(asked.map((each, at) => tryToMake(each, services.idOf(from + at), services)));
  const makings = tries.flatMap((each) => ("made" in each ? [each] : []));
  try {
    const written = makings.length === 0 ? new Map<string, Created>() : await write(asker, makings, services);
    return tries.map((each) => {
      if (!("made" in each)) return each;
      const result = written.get(each.walletId);
      if (result === undefined) throw new Error("unreachable: each that was made has a result");
      return result;
    });
  } finally {
    for (const { made } of makings) wipe(made);
  }
}

/** What cannot be is refused by itself. */
async function tryToMake(
  asked: NewWallet,
  walletId: string,
  { randomness, nowMs }: CreateManyServices,
): Promise<Making | { readonly error: unknown }> {
  try {
    return { walletId, asked, made: makeWallet(await makeSecret(asked, randomness), asked.accounts, nowMs()) };
  } catch (error) {
    return { error };
  }
}

async function write(
  asker: Asker,
  makings: readonly Making[],
  { records, users, events }: CreateManyServices,
): Promise<ReadonlyMap<string, Created>> {
  const { appId, userId, by } = asker;
  let attempt = 0;
  return await users.change<ReadonlyMap<string, Created>>(appId, userId, async (user) => {
    attempt += 1;
    // As good as always there are none yet, and the write itself finds out: only then is it worth looking.
    const found = attempt === 1 ? [] : await Promise.all(makings.map(({ walletId }) => look(records, asker, walletId)));
    const results = new Map<string, Created>();
    const missing = makings.filter((making, at) => {
      const record = found[at] ?? null;
      results.set(
        making.walletId,
        record === null ? { wallet: publicPart(making.walletId, making.made) } : sameOf(making, record),
      );
      return record === null;
    });
    if (missing.length === 0) return { kind: "leave", result: results };
    const walletIds = missing.map(({ walletId }) => walletId);
    const details = { count: `${walletIds.length}`, walletIds: walletIds.join(" ") };
    const added = events.add(appId, userId, user, { kind: "wallets-created", by, details });
    const changes = missing.map(({ walletId, made }) => change(walletRecords, walletName(asker, walletId), null, made));
    return { kind: "write", user: added.user, also: [...changes, added.also], result: results };
  });
}

async function look(records: Records, asker: Asker, walletId: string): Promise<ReadRecord<StoredWallet> | null> {
  return await records.read(walletRecords, walletName(asker, walletId));
}

/** The wallet that the same request made before, with the accounts that it asked for. */
function sameOf({ walletId, asked, made }: Making, { value }: ReadRecord<StoredWallet>): Created {
  try {
    const { secret } = value;
    if (secret.kind === "split" || !isAsAsked({ ...value, secret }, asked)) {
      return { error: new RequestError("RECORD_CONFLICT", "this request id made another wallet: use a new one") };
    }
    const { accounts, ...wallet } = publicPart(walletId, value);
    const [first, ...others] = accounts.filter((_, at) => {
      const held = value.accounts[at];
      return held !== undefined && made.accounts.some((each) => isSame(each, exactAccount(asNew(held), secret)));
    });
    return { wallet: { ...wallet, accounts: first === undefined ? accounts : [first, ...others] } };
  } finally {
    wipe(value);
  }
}

function asNew({ format, curve, path }: StoredWallet["accounts"][number]): Parameters<typeof exactAccount>[0] {
  return path === null ? { format, curve } : { format, curve, path };
}
