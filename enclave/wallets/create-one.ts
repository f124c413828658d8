/** A wallet by itself, written together with those that are made for the same owner at the same time. */
import { type NewWallet, RequestError, type Wallet } from "../../protocol/index.ts";
import type { Events } from "../events/events.ts";
import type { JointDecision } from "../users/joint-changes.ts";
import type { Users } from "../users/users.ts";
import { change, type Records } from "../vault/records.ts";
import { isAsAsked } from "./make-wallet.ts";
import { publicPart, type WalletValue, walletName, walletRecords, wipe } from "./wallet-value.ts";
import type { Asker } from "./wallets.ts";

/** More would make sixty of them too long for one frame: whoever has so many is written alone. */
const MAX_ACCOUNTS_JOINED = 16;

export interface CreateOneServices {
  readonly records: Records;
  readonly users: Users;
  readonly events: Events;
}

export interface NewlyMade {
  readonly walletId: string;
  readonly asked: NewWallet;
  /** The caller's to wipe, once this has settled. */
  readonly made: WalletValue;
}

/**
 * Writes a wallet and its event, or finds the wallet where the same request made it before.
 *
 * @throws {@link RequestError} `RECORD_CONFLICT` for the same request id with another wallet, and what records throw
 */
export async function createOne(asker: Asker, newly: NewlyMade, services: CreateOneServices): Promise<Wallet> {
  const { appId, userId } = asker;
  const { walletId, made } = newly;
  const decide = (isFirst: boolean) => decideOne(asker, newly, isFirst, services);
  if (made.accounts.length <= MAX_ACCOUNTS_JOINED) {
    return await services.users.changeJointly(appId, userId, walletId, decide);
  }
  return await services.users.change<Wallet>(appId, userId, async (user) => {
    const decision = await decide(false);
    return decision.kind === "leave" ? decision : { ...decision, ...decision.onto(user) };
  });
}

async function decideOne(
  asker: Asker,
  { walletId, asked, made }: NewlyMade,
  isFirst: boolean,
  { records, events }: CreateOneServices,
): Promise<JointDecision<Wallet>> {
  const name = walletName(asker, walletId);
  // As good as always there is none yet, and the write itself finds out: only then is it worth looking.
  const record = isFirst ? null : await records.read(walletRecords, name);
  if (record !== null) {
    try {
      const { secret } = record.value;
      if (secret.kind !== "split" && isAsAsked({ ...record.value, secret }, asked)) {
        return { kind: "leave", result: publicPart(walletId, record.value) };
      }
      throw new RequestError("RECORD_CONFLICT", "this request id made another wallet: use a new one");
    } finally {
      wipe(record.value);
    }
  }
  return {
    kind: "write",
    result: publicPart(walletId, made),
    onto(user) {
      const details = { walletId, kind: asked.kind };
      const added = events.add(asker.appId, asker.userId, user, { kind: "wallet-created", by: asker.by, details });
      return { user: added.user, also: [change(walletRecords, name, null, made), added.also] };
    },
  };
}
