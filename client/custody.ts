/**
 * A device's part in split custody: it keeps its share, brings it with whatever needs the wallet's keys, and recovers. A
 * share is opened for one request and wiped; as text, which a request is made of, it stays in memory until it is collected.
 */
import {
  audienceOf,
  encodeBase64url,
  generateShareKey,
  type NewShares,
  type NewWallet,
  openSealedShare,
  type Params,
  type Recovery,
  type Result,
  sealShare,
  sharePublicKeyOf,
  type Wallet,
} from "../protocol/index.ts";
import type { CallOptions, Client } from "./client.ts";
import type { DeviceStore, StoredDevice } from "./device-store.ts";
import { CustodyError } from "./errors.ts";
import {
  openRecoveryFile,
  type RecoveryFile,
  type RecoveryOpener,
  type RecoveryRecipient,
  recipientOf,
} from "./recovery-file.ts";

type Call = <Name extends Parameters<Client["call"]>[0]>(
  name: Name,
  params: Params<Name>,
  options: CallOptions,
) => Promise<Result<Name>>;

/** Where the recovery share goes: into the vault, or into a file that is given back and kept by the user. */
export type RecoveryChoice = { readonly kind: "held" } | RecoveryRecipient;

const HELD: RecoveryChoice = { kind: "held" };

export interface Shared {
  readonly wallet: Wallet;
  /** Null where the vault holds the recovery share. Whoever loses it, and the device, has lost the wallet. */
  readonly recoveryFile: RecoveryFile | null;
}

export class Custody {
  readonly #deployment: string;
  readonly #appId: string;
  readonly #call: Call;
  readonly #store: DeviceStore;

  /** @internal Use {@link Session.custody}. */
  constructor(options: {
    readonly deployment: string;
    readonly appId: string;
    /** As the session. */
    readonly call: Call;
    readonly store: DeviceStore;
  }) {
    this.#deployment = options.deployment;
    this.#appId = options.appId;
    this.#call = options.call;
    this.#store = options.store;
  }

  /** Makes a wallet of which this device holds a share. */
  async createWallet(wallet: NewWallet, recovery: RecoveryChoice = HELD, options: CallOptions = {}): Promise<Shared> {
    return await this.#share(recovery, (to) => this.#call("create_split_wallet", { wallet, ...to }, options));
  }

  /**
   * Shares a wallet anew, for this device, by a fresh login other than the lost device's, or with a recovery file. The lost
   * device can do nothing with its share from then on.
   *
   * @param from.file - Where the vault does not hold the recovery share.
   * @throws {@link CustodyError} `RECOVERY_FILE_…`; and as {@link Client.call}
   */
  async recover(
    walletId: string,
    from: { readonly file: unknown; readonly opener: RecoveryOpener } | null = null,
    recovery: RecoveryChoice = HELD,
    options: CallOptions = {},
  ): Promise<Shared> {
    const share = from === null ? {} : { share: await openRecoveryFile(from.file, from.opener) };
    return await this.#share(recovery, (to) =>
      this.#call("recover_wallet", { walletId, ...to }, { ...options, ...share }),
    );
  }

  /** Shares a wallet anew, by a fresh login and this device's share: other devices' shares are worth nothing from then on. */
  async reshare(walletId: string, recovery: RecoveryChoice = HELD, options: CallOptions = {}): Promise<Shared> {
    const share = await this.shareOf(walletId);
    return await this.#share(recovery, (to) =>
      this.#call("reshare_wallet", { walletId, ...to }, { ...options, share }),
    );
  }

  /** Any operation on one wallet, such as `sign_transaction`; with this device's share, if it has one. */
  async call<Name extends Parameters<Client["call"]>[0]>(
    name: Name,
    params: Params<Name> & { readonly walletId: string },
    options: CallOptions = {},
  ): Promise<Result<Name>> {
    const isHere = (await this.#device(params.walletId))?.sealedShare != null;
    return await this.#call(
      name,
      params,
      isHere ? { ...options, share: await this.shareOf(params.walletId) } : options,
    );
  }

  /**
   * This device's share, base64url, for `share` in {@link CallOptions}.
   *
   * @throws {@link CustodyError} `DEVICE_SHARE_MISSING`; ProtocolError `SHARE_NOT_OPENED` for a store that was changed
   */
  async shareOf(walletId: string): Promise<string> {
    const share = await this.#open(walletId);
    try {
      return encodeBase64url(share);
    } finally {
      share.fill(0);
    }
  }

  /** Makes this device ready for a share that another one hands over. @returns The key to hand it over to: compare it there. */
  async expectShare(walletId: string): Promise<string> {
    const pair = await generateShareKey(this.#store.extractable);
    await this.#save(walletId, pair, null);
    return await sharePublicKeyOf(pair);
  }

  /**
   * Seals this device's share to another's key: both sign from then on, until either shares anew.
   *
   * @param publicKey - {@link expectShare}'s, from a screen that the user sees: whoever swaps it gets the share.
   */
  async handOver(walletId: string, publicKey: string): Promise<string> {
    const share = await this.#open(walletId);
    try {
      return await sealShare(publicKey, this.#address(walletId), share);
    } finally {
      share.fill(0);
    }
  }

  /** Keeps what {@link handOver} gave. @throws as {@link shareOf} */
  async acceptShare(walletId: string, sealedShare: string): Promise<void> {
    const device = await this.#device(walletId);
    if (device === null) throw missing(walletId);
    const share = await openSealedShare(device.pair, this.#address(walletId), sealedShare);
    share.fill(0);
    await this.#save(walletId, device.pair, sealedShare);
  }

  /** Takes this device's share away. It cannot be had again but by {@link recover} or from another device. */
  async forget(walletId: string): Promise<void> {
    await this.#store.clear(walletId);
  }

  async #share(
    choice: RecoveryChoice,
    ask: (to: { readonly devicePublicKey: string; readonly recovery: Recovery }) => Promise<NewShares>,
  ): Promise<Shared> {
    const to = choice.kind === "held" ? null : await recipientOf(choice);
    const pair = await generateShareKey(this.#store.extractable);
    const recovery: Recovery = to === null ? { kind: "held" } : { kind: "exported", publicKey: to.publicKey };
    const { wallet, deviceShare, recoveryShare } = await ask({
      devicePublicKey: await sharePublicKeyOf(pair),
      recovery,
    });
    const { walletId } = wallet;
    (await openSealedShare(pair, this.#address(walletId), deviceShare)).fill(0);
    await this.#save(walletId, pair, deviceShare);
    if (to === null || recoveryShare === null) return { wallet, recoveryFile: null };
    const { recipient } = to;
    const audience = audienceOf(this.#deployment, this.#appId);
    const head = { kind: "cloister-recovery-share", version: 1, audience, walletId } as const;
    return { wallet, recoveryFile: { ...head, recipient, share: recoveryShare } };
  }

  async #open(walletId: string): Promise<Uint8Array> {
    const device = await this.#device(walletId);
    if (device?.sealedShare == null) throw missing(walletId);
    return await openSealedShare(device.pair, this.#address(walletId), device.sealedShare);
  }

  async #device(walletId: string): Promise<StoredDevice | null> {
    const device = await this.#store.load(walletId);
    return device?.deployment === this.#deployment && device.appId === this.#appId ? device : null;
  }

  async #save(walletId: string, pair: CryptoKeyPair, sealedShare: string | null): Promise<void> {
    await this.#store.save({ deployment: this.#deployment, appId: this.#appId, walletId, pair, sealedShare });
  }

  #address(walletId: string) {
    return { audience: audienceOf(this.#deployment, this.#appId), walletId, role: "device" } as const;
  }
}

function missing(walletId: string): CustodyError {
  return new CustodyError("DEVICE_SHARE_MISSING", `this device has no share of ${walletId}`);
}
