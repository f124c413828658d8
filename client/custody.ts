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
  type Result,
  sealShare,
  sharePublicKeyOf,
  type Wallet,
} from "../protocol/index.ts";
import type { CallOptions, Client } from "./client.ts";
import type { DeviceStore, PendingShare, StoredDevice } from "./device-store.ts";
import { CustodyError, RefusedError } from "./errors.ts";
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

const HELD = { kind: "held" } as const;

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
    const { pair, recipient, ...asked } = await this.#newShare(recovery);
    const to = { devicePublicKey: await sharePublicKeyOf(pair), recovery: asked.recovery };
    return await this.#take(pair, recipient, await this.#call("create_split_wallet", { wallet, ...to }, options));
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
    return await this.#shareAnew("recover_wallet", walletId, recovery, { ...options, ...share });
  }

  /** Shares a wallet anew, by a fresh login and this device's share: other devices' shares are worth nothing from then on. */
  async reshare(walletId: string, recovery: RecoveryChoice = HELD, options: CallOptions = {}): Promise<Shared> {
    return await this.#shareAnew("reshare_wallet", walletId, recovery, options);
  }

  /**
   * Finishes a {@link recover} or {@link reshare} whose answer this device never had: the share is sealed to a key that the store
   * has kept, and the enclave gives the same answer under the same request id. Both do so by themselves before they ask anew.
   *
   * @returns Null where nothing was begun, or nothing came of it yet.
   * @throws as {@link Client.call}: try again
   */
  async resume(walletId: string, options: CallOptions = {}): Promise<Shared | null> {
    return await this.#finish(await this.#device(walletId), options);
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
    const device = await this.#device(walletId);
    if (device === null) throw missing(walletId);
    return await this.#textOf(device);
  }

  /**
   * Makes this device ready for a share that another one hands over.
   *
   * @returns The key to hand it over to: compare it there.
   * @throws what the store throws for what stands there and cannot be read: it may hold the share. {@link forget} it first.
   */
  async expectShare(walletId: string): Promise<string> {
    const pair = await generateShareKey(this.#store.extractable);
    await this.#saveBeside(await this.#device(walletId), walletId, pair, null);
    return await sharePublicKeyOf(pair);
  }

  /**
   * Seals this device's share to another's key: both sign from then on, until either shares anew.
   *
   * @param publicKey - {@link expectShare}'s, from a screen that the user sees: whoever swaps it gets the share.
   */
  async handOver(walletId: string, publicKey: string): Promise<string> {
    const device = await this.#device(walletId);
    if (device === null) throw missing(walletId);
    const share = await this.#open(device);
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
    await this.#saveBeside(device, walletId, device.pair, sealedShare);
  }

  /** Takes this device's share away. It cannot be had again but by {@link recover} or from another device. */
  async forget(walletId: string): Promise<void> {
    await this.#store.clear(walletId);
  }

  async #shareAnew(
    operation: PendingShare["operation"],
    walletId: string,
    choice: RecoveryChoice,
    options: CallOptions,
  ): Promise<Shared> {
    const begun = await this.#device(walletId);
    const finished = await this.#finish(begun, options);
    const { pending: asked } = begun ?? {};
    // A recovery file may be for another passphrase by now.
    const isThis = asked?.operation === operation && asked.recovery.kind === "held" && choice.kind === "held";
    if (finished !== null && isThis) return finished;
    const kept = begun === null ? null : await this.#device(walletId);
    if (operation === "reshare_wallet" && kept?.sealedShare == null) throw missing(walletId);
    const { requestId = crypto.randomUUID() } = options;
    // The same one again where it may still be on its way: whichever arrives first, this key opens what comes of it.
    const again = isThis ? kept?.pending : undefined;
    const pending = again ?? { operation, requestId, ...(await this.#newShare(choice)) };
    const { pair, sealedShare } = kept ?? { pair: pending.pair, sealedShare: null };
    const device = { ...this.#of(walletId), pair, sealedShare, pending };
    // Before it is asked: once it is answered, this is the only key that opens the share.
    await this.#store.save(device);
    return await this.#ask(device, pending, options);
  }

  async #finish(device: StoredDevice | null, options: CallOptions): Promise<Shared | null> {
    if (device?.pending === undefined) return null;
    try {
      return await this.#ask(device, device.pending, options);
    } catch (error) {
      if (!isOfNoUse(error)) throw error;
      // Of the others the first asking may still be on its way: what it makes, this key alone opens.
      if (error.code === "SHARE_OUTDATED") await this.#save(device.walletId, device.pair, device.sealedShare);
      return null;
    }
  }

  async #ask(device: StoredDevice, pending: PendingShare, options: CallOptions): Promise<Shared> {
    const { walletId } = device;
    const { operation, requestId, pair, recovery, recipient } = pending;
    // One that is kept no more is not asked for, where the answer is given again.
    const isBrought = operation === "reshare_wallet" && device.sealedShare !== null;
    const share = isBrought ? { share: await this.#textOf(device) } : {};
    const params = { walletId, devicePublicKey: await sharePublicKeyOf(pair), recovery };
    const answer = await this.#call(operation, params, { ...options, ...share, requestId });
    return await this.#take(pair, recipient, answer);
  }

  async #newShare(choice: RecoveryChoice): Promise<Pick<PendingShare, "pair" | "recovery" | "recipient">> {
    const pair = await generateShareKey(this.#store.extractable);
    if (choice.kind === "held") return { pair, recovery: HELD, recipient: null };
    const { publicKey, recipient } = await recipientOf(choice);
    return { pair, recovery: { kind: "exported", publicKey }, recipient };
  }

  async #take(
    pair: CryptoKeyPair,
    recipient: RecoveryFile["recipient"] | null,
    { wallet, deviceShare, recoveryShare }: NewShares,
  ): Promise<Shared> {
    const { walletId } = wallet;
    (await openSealedShare(pair, this.#address(walletId), deviceShare)).fill(0);
    await this.#save(walletId, pair, deviceShare);
    if (recipient === null || recoveryShare === null) return { wallet, recoveryFile: null };
    const audience = audienceOf(this.#deployment, this.#appId);
    const head = { kind: "cloister-recovery-share", version: 1, audience, walletId } as const;
    return { wallet, recoveryFile: { ...head, recipient, share: recoveryShare } };
  }

  async #textOf(device: StoredDevice): Promise<string> {
    const share = await this.#open(device);
    try {
      return encodeBase64url(share);
    } finally {
      share.fill(0);
    }
  }

  async #open({ walletId, pair, sealedShare }: StoredDevice): Promise<Uint8Array> {
    if (sealedShare === null) throw missing(walletId);
    return await openSealedShare(pair, this.#address(walletId), sealedShare);
  }

  async #device(walletId: string): Promise<StoredDevice | null> {
    const device = await this.#store.load(walletId);
    return device?.deployment === this.#deployment && device.appId === this.#appId ? device : null;
  }

  async #save(walletId: string, pair: CryptoKeyPair, sealedShare: string | null): Promise<void> {
    await this.#store.save({ ...this.#of(walletId), pair, sealedShare });
  }

  /** What is pending stays so: its key may be the only one that opens the share of the present set. */
  async #saveBeside(
    present: StoredDevice | null,
    walletId: string,
    pair: CryptoKeyPair,
    sealedShare: string | null,
  ): Promise<void> {
    const { pending } = present ?? {};
    await this.#store.save({ ...this.#of(walletId), pair, sealedShare, ...(pending && { pending }) });
  }

  #of(walletId: string) {
    return { deployment: this.#deployment, appId: this.#appId, walletId } as const;
  }

  #address(walletId: string) {
    return { audience: audienceOf(this.#deployment, this.#appId), walletId, role: "device" } as const;
  }
}

function missing(walletId: string): CustodyError {
  return new CustodyError("DEVICE_SHARE_MISSING", `this device has no share of ${walletId}`);
}

/**
 * Refused after the enclave has looked whether it gave this answer before: the set of shares that it made, if it made one by
 * then, is not the present one. A share that is outdated was so for the first asking as well, whenever it arrives.
 */
function isOfNoUse(error: unknown): error is RefusedError {
  if (!(error instanceof RefusedError) || !error.isFromEnclave) return false;
  return /^(?:SHARE|LOGIN|RECOVERY_SHARE)_/.test(error.code);
}
