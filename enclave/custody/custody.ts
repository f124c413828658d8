/**
 * Split wallets: their secret is made here, shared, and forgotten. Whatever changes a set of shares changes the wallet's
 * record, the recovery share's and the owner's events in one write.
 */
import {
  encodeHex,
  makeShares,
  type NewShares,
  type Params,
  ProtocolError,
  RequestError,
  type ShareRole,
  sealShare,
  shareDigest,
} from "../../protocol/index.ts";
import { checkFresh, checkSettled, FRESH_LOGIN_MS, type Login } from "../auth/logins.ts";
import type { Events, NewEvent } from "../events/events.ts";
import type { Randomness } from "../nsm/randomness.ts";
import type { User } from "../users/user.ts";
import type { UserDecision, Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { makeSecret, makeWallet } from "../wallets/make-wallet.ts";
import {
  publicPart,
  type StoredWallet,
  type WalletValue,
  walletName,
  walletRecords,
  wipe,
  wipeSecret,
} from "../wallets/wallet-value.ts";
import { apart, bytesOfSecret, digestOfRequest, kindOfSecret, secretOf } from "./put-together.ts";
import { recoveryRecords } from "./recovery-record.ts";
import { type SplitSecret, setIdOf } from "./split-secret.ts";

/** A request that makes shares. */
export interface CustodyRequest {
  readonly appId: string;
  readonly userId: string;
  /** A session's or a passkey's id. */
  readonly by: string;
  readonly audience: string;
  readonly requestId: string;
  readonly login: Login;
  /** What it brought, base64url. */
  readonly share: string | undefined;
}

type ToShare = Pick<Params<"reshare_wallet">, "devicePublicKey" | "recovery">;

/** What goes into one new set. */
interface NewSet extends ToShare {
  readonly walletId: string;
  readonly madeFor: Uint8Array;
  readonly lostLoginIds: readonly string[];
  readonly event: NewEvent["kind"];
  /** Takes what is to be written, which whoever asked wipes after that: two shares are the secret. */
  readonly written: Uint8Array[];
}

interface SplitRecord extends ReadRecord<StoredWallet> {
  readonly split: SplitSecret;
}

export class Custody {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #events: Events;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly users: Users;
    readonly events: Events;
    readonly randomness: Randomness;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#users = options.users;
    this.#events = options.events;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
  }

  /**
   * Makes a wallet whose secret is split at once.
   *
   * @throws {@link RequestError} `INVALID_PARAMS`, `SHARE_KEY_MALFORMED`, `RECORD_CONFLICT`, and what changing a user throws
   */
  async create(request: CustodyRequest, params: Params<"create_split_wallet">): Promise<NewShares> {
    const { appId, userId, requestId } = request;
    const walletId = this.#ids.derive("wal", [appId, userId, requestId]);
    const madeFor = digestOfRequest("create_split_wallet", requestId, params);
    const written: Uint8Array[] = [];
    const whole = makeWallet(await makeSecret(params.wallet, this.#randomness), params.wallet.accounts, this.#nowMs());
    try {
      return await this.#users.change(appId, userId, async (user) => {
        const record = await this.#records.read(walletRecords, walletName(request, walletId));
        if (record === null) {
          const set: NewSet = { ...params, walletId, madeFor, lostLoginIds: [], event: "wallet-split", written };
          return await this.#share(request, user, null, whole, set);
        }
        const again = answerAgain(walletId, record.value, madeFor);
        if (again !== null) return { kind: "leave", result: again };
        throw new RequestError("RECORD_CONFLICT", "this request id made another wallet: use a new one");
      });
    } finally {
      wipe(whole);
      for (const each of written) each.fill(0);
    }
  }

  /**
   * Shares a wallet's secret anew, from the operator's share and the recovery share: the device share that is lost is
   * worth nothing any more. A recovery share that the vault holds is for a login that has nothing to do with that device.
   *
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, `WALLET_NOT_SPLIT`, `LOGIN_…`, `SHARE_…`, `RECOVERY_SHARE_EXPORTED`,
   *   and what changing a user throws
   */
  async recover(request: CustodyRequest, params: Params<"recover_wallet">): Promise<NewShares> {
    return await this.#reshare("recover_wallet", request, params, async (user, { split, value }) => {
      const { login } = request;
      const lost = [...new Set([...split.lostLoginIds, split.deviceLoginId])];
      const isHeld = split.recovery === "held";
      const devices = this.#hasJustRecovered(login, split) ? split.lostLoginIds : lost;
      if (isHeld) this.#checkMayUseHeld(login, user, value, devices);
      const brought = isHeld ? await this.#heldShare(request, params.walletId, split) : request.share;
      if (brought === undefined) {
        throw new RequestError("RECOVERY_SHARE_EXPORTED", "the vault holds no recovery share of this wallet: bring it");
      }
      const lostLoginIds = lost.filter((id) => id !== login.loginId && isLogin(user, id));
      return { role: "recovery", brought, lostLoginIds, event: "wallet-recovered" };
    });
  }

  /**
   * Shares a wallet's secret anew, from the operator's share and the device's: for another device, or to have the recovery
   * share elsewhere. Who gets the recovery share out gets the key, with the device's: a held one asks what recovery asks.
   *
   * @throws {@link RequestError} as {@link recover}
   */
  async reshare(request: CustodyRequest, params: Params<"reshare_wallet">): Promise<NewShares> {
    return await this.#reshare("reshare_wallet", request, params, async (user, { split, value }) => {
      const { login, share: brought } = request;
      if (split.recovery === "held" && params.recovery.kind === "exported") {
        this.#checkMayUseHeld(login, user, value, [...split.lostLoginIds, split.deviceLoginId]);
      }
      // Else whoever has a session would take the device's place with a login that they add, and then be, by the one that
      // they came with, another login than the device's.
      if (login.loginId !== split.deviceLoginId) checkSettled(login, user, value.createdAtMs, this.#nowMs());
      const lostLoginIds = split.lostLoginIds.filter((id) => id !== login.loginId && isLogin(user, id));
      return { role: "device", brought, lostLoginIds, event: "wallet-reshared" };
    });
  }

  async #reshare(
    operation: "recover_wallet" | "reshare_wallet",
    request: CustodyRequest,
    params: Params<"recover_wallet" | "reshare_wallet">,
    judge: (
      user: User,
      record: SplitRecord,
    ) => Promise<
      Pick<NewSet, "lostLoginIds" | "event"> & {
        readonly role: "device" | "recovery";
        readonly brought: string | Uint8Array | undefined;
      }
    >,
  ): Promise<NewShares> {
    const { appId, userId, requestId, login } = request;
    const { walletId } = params;
    const madeFor = digestOfRequest(operation, requestId, params);
    const written: Uint8Array[] = [];
    try {
      return await this.#users.change(appId, userId, async (user) => {
        const record = await this.#readSplit(request, walletId);
        try {
          // Asked again because an answer was lost: the share that it brings is an old one by now.
          const again = answerAgain(walletId, record.value, madeFor);
          if (again !== null) return { kind: "leave", result: again };
          checkFresh(login, this.#nowMs());
          const { role, brought, ...set } = await judge(user, record);
          const secret = await secretOf(record.split, { walletId, role, brought }, this.#random);
          try {
            const made: NewSet = { ...params, madeFor, ...set, written };
            return await this.#share(request, user, record, { ...record.value, secret }, made);
          } finally {
            wipeSecret(secret);
          }
        } finally {
          wipe(record.value);
        }
      });
    } finally {
      for (const each of written) each.fill(0);
    }
  }

  async #readSplit(request: CustodyRequest, walletId: string): Promise<SplitRecord> {
    const record = await this.#records.read(walletRecords, walletName(request, walletId));
    if (record === null) throw new RequestError("WALLET_NOT_FOUND", "this user has no such wallet in this app");
    const { secret } = record.value;
    if (secret.kind === "split") return { ...record, split: secret };
    wipe(record.value);
    throw new RequestError("WALLET_NOT_SPLIT", "this wallet is not split: there are no shares of it");
  }

  #checkMayUseHeld(login: Login, user: User, { createdAtMs }: StoredWallet, devices: readonly string[]): void {
    if (devices.includes(login.loginId)) {
      throw new RequestError(
        "LOGIN_HOLDS_DEVICE_SHARE",
        "this login has a device share, or had one that was lost: the recovery share is for another",
      );
    }
    checkSettled(login, user, createdAtMs, this.#nowMs());
  }

  /** Then it may be that nobody has the device share: the answer was lost, and with it, but for this, the wallet. */
  #hasJustRecovered({ loginId }: Login, { deviceLoginId, isRecovered, sharedAtMs }: SplitSecret): boolean {
    return isRecovered === true && deviceLoginId === loginId && sharedAtMs + FRESH_LOGIN_MS > this.#nowMs();
  }

  /** @returns The caller wipes it. */
  async #heldShare(request: CustodyRequest, walletId: string, { operatorShare }: SplitSecret): Promise<Uint8Array> {
    if (request.share !== undefined) {
      throw new RequestError("SHARE_UNEXPECTED", "the vault holds the recovery share of this wallet: bring none");
    }
    const record = await this.#records.read(recoveryRecords, walletName(request, walletId));
    const setId = record?.value.setId;
    // Written together: a parent that brings one of the two back, or hides it, is found out even after a restart.
    if (record === null || setId === undefined || Buffer.compare(setId, setIdOf(operatorShare)) !== 0) {
      record?.value.share.fill(0);
      throw new RequestError(
        "RECORD_ROLLED_BACK",
        "the recovery share's record and the wallet's contradict each other",
      );
    }
    return record.value.share;
  }

  /** Shares a secret, and says what is to be written for it. */
  async #share(
    request: CustodyRequest,
    user: User,
    record: ReadRecord<StoredWallet> | null,
    whole: WalletValue,
    set: NewSet,
  ): Promise<UserDecision<NewShares>> {
    const { appId, userId, by } = request;
    const { walletId, recovery, devicePublicKey } = set;
    const name = walletName(request, walletId);
    const bytes = bytesOfSecret(whole.secret);
    const shares = await makeShares(bytes, { walletId, secret: kindOfSecret(whole.secret) }, this.#random);
    try {
      const [device, recoveryDigest] = await Promise.all([shareDigest(shares.device), shareDigest(shares.recovery)]);
      const seal = (role: ShareRole, publicKey: string) => sealTo(publicKey, request.audience, walletId, role, shares);
      const split: SplitSecret = {
        kind: "split",
        operatorShare: Uint8Array.from(shares.operator),
        digests: { device, recovery: recoveryDigest },
        recovery: recovery.kind,
        sharedAtMs: this.#nowMs(),
        deviceLoginId: request.login.loginId,
        ...(set.event === "wallet-recovered" ? { isRecovered: true as const } : {}),
        lostLoginIds: [...set.lostLoginIds],
        madeFor: Uint8Array.from(set.madeFor),
        sealed: {
          device: await seal("device", devicePublicKey),
          recovery: recovery.kind === "exported" ? await seal("recovery", recovery.publicKey) : null,
        },
      };
      const held = await this.#records.read(recoveryRecords, name);
      held?.value.share.fill(0);
      const heldNow = { setId: Uint8Array.from(shares.setId), share: Uint8Array.from(shares.recovery) };
      set.written.push(split.operatorShare, heldNow.share);
      const recoveryChanges =
        recovery.kind === "held"
          ? [change(recoveryRecords, name, held, heldNow)]
          : held === null
            ? []
            : [change(recoveryRecords, name, held, undefined)];
      const stored = apart(whole, split);
      const details = { walletId, setId: encodeHex(shares.setId), recovery: recovery.kind };
      const added = this.#events.add(appId, userId, user, { kind: set.event, by, details });
      return {
        kind: "write",
        user: added.user,
        also: [change(walletRecords, name, record, stored), ...recoveryChanges, added.also],
        result: answerOf(walletId, stored, split),
      };
    } finally {
      for (const each of [bytes, shares.device, shares.operator, shares.recovery]) each.fill(0);
    }
  }

  readonly #random = (length: number): Uint8Array => this.#randomness.bytes(length);
}

/** What was answered to the request that made the present set, to that request alone. */
function answerAgain(walletId: string, stored: StoredWallet, madeFor: Uint8Array): NewShares | null {
  const { secret } = stored;
  if (secret.kind !== "split" || Buffer.compare(secret.madeFor, madeFor) !== 0) return null;
  return answerOf(walletId, stored, secret);
}

function answerOf(walletId: string, stored: StoredWallet, { sealed }: SplitSecret): NewShares {
  return { wallet: publicPart(walletId, stored), deviceShare: sealed.device, recoveryShare: sealed.recovery };
}

async function sealTo(
  publicKey: string,
  audience: string,
  walletId: string,
  role: ShareRole,
  shares: Readonly<Record<ShareRole, Uint8Array>>,
): Promise<string> {
  try {
    return await sealShare(publicKey, { audience, walletId, role }, shares[role]);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new RequestError("SHARE_KEY_MALFORMED", `no ${role} share can be sealed to this key`, { cause });
  }
}

function isLogin({ identities, passkeys }: User, id: string): boolean {
  return identities.some(({ identityId }) => identityId === id) || passkeys.some(({ passkeyId }) => passkeyId === id);
}
