/** A logged-in user, for as long as the issuer vouches for them. */
import type { ExportedSecret, Params, Result } from "../protocol/index.ts";
import { Account } from "./account.ts";
import { asJson, type BatchOutcomes, type BatchSigning, outcomesOf } from "./batches.ts";
import type { CallOptions, Client } from "./client.ts";
import { Custody } from "./custody.ts";
import type { DeviceStore } from "./device-store.ts";
import { loginNonce } from "./login-nonce.ts";
import type { PasskeyStampKey } from "./passkeys.ts";
import { type Credential, isRefused, type LoginOptions, Renewal, type SessionLimits } from "./renewal.ts";
import { memoryStore, type SessionStore } from "./session-store.ts";
import { generateStampPair, type StampKey, stampKeyOf } from "./stamp-key.ts";
import { type ExportOptions, exportWallet, type ImportOptions, importWallet, type WalletCaller } from "./wallets.ts";

/** A session is renewed when so much of it is left, or a fifth if that is less. */
const RENEW_BEFORE_MS = 60_000;

export class Session {
  readonly #client: Client;
  readonly #appId: string;
  /** Null where the caller holds the key. */
  readonly #store: SessionStore | null;
  /** Null where nobody gives tokens: such a session ends by itself. */
  readonly #renewal: Renewal | null;
  #credential: Credential;

  /** @internal Use {@link Session.login}, {@link Session.loginWithPasskey} or {@link Client.login}. */
  constructor(
    client: Client,
    appId: string,
    credential: Credential,
    kept: { readonly store: SessionStore; readonly renewal: Renewal | null } | null = null,
  ) {
    this.#client = client;
    this.#appId = appId;
    this.#credential = credential;
    this.#store = kept?.store ?? null;
    this.#renewal = kept?.renewal ?? null;
  }

  /**
   * Logs in, or goes on with the session that the store still has. The session renews itself before it ends, each time
   * with a new key and a token for it.
   *
   * @throws {@link RefusedError}, {@link ClientError}, and whatever `token` and the store throw
   */
  static async login(client: Client, options: LoginOptions): Promise<Session> {
    const store = options.store ?? memoryStore();
    const renewal = new Renewal(client, options, store);
    const credential = (await storedCredential(client, options.appId, store)) ?? (await renewal.renew(null));
    if (credential === null) throw new TypeError("ended before it began");
    return new Session(client, options.appId, credential, { store, renewal });
  }

  /**
   * Goes on with the session that the store still has, or makes a key and logs in with a passkey: the user is asked. Such
   * a session ends by itself, since nobody but the user can renew it.
   *
   * @throws as {@link Client.loginWithPasskey}, and whatever the store throws
   */
  static async loginWithPasskey(
    client: Client,
    login: SessionLimits & {
      readonly appId: string;
      readonly passkey: PasskeyStampKey;
      /** In memory unless given. */
      readonly store?: SessionStore;
    },
    options: CallOptions = {},
  ): Promise<Session> {
    const { appId, store = memoryStore() } = login;
    const kept = { store, renewal: null };
    const stored = await storedCredential(client, appId, store);
    if (stored !== null) return new Session(client, appId, stored, kept);
    const pair = await generateStampPair(store.extractable);
    const key = await stampKeyOf(pair);
    const { sessionId, userId, expiresAtMs } = await client.loginWithPasskey({ ...login, key }, options);
    const lifetimeMs = Math.max(0, expiresAtMs - client.nowMs());
    await store.save({ deployment: client.deployment, appId, sessionId, userId, expiresAtMs, lifetimeMs, pair });
    return new Session(client, appId, { sessionId, userId, expiresAtMs, key }, kept);
  }

  get sessionId(): string {
    return this.#credential.sessionId;
  }

  get userId(): string {
    return this.#credential.userId;
  }

  get expiresAtMs(): number {
    return this.#credential.expiresAtMs;
  }

  /** Passkeys, one-time passwords, linked identities and events of this user. */
  get account(): Account {
    return new Account({
      deployment: this.#client.deployment,
      appId: this.#appId,
      userId: this.userId,
      nonce: () => loginNonce(this.#credential.key),
      call: (name, params, options) => this.call(name, params, options),
    });
  }

  /** Wallets whose secret is split, as this device takes part in them. @param store - Where it keeps its shares. */
  custody(store: DeviceStore): Custody {
    return new Custody({
      deployment: this.#client.deployment,
      appId: this.#appId,
      call: (name, params, options) => this.call(name, params, options),
      store,
    });
  }

  createWallet(params: Params<"create_wallet">, options?: CallOptions): Promise<Result<"create_wallet">> {
    return this.call("create_wallet", params, options);
  }

  /** Makes up to 1,000 wallets at once; each has its own result or refusal. */
  createWallets(params: Params<"create_wallets">, options?: CallOptions): Promise<Result<"create_wallets">> {
    return this.call("create_wallets", params, options);
  }

  /** Adds accounts to a wallet; those that are there already are found. */
  createAccounts(params: Params<"create_accounts">, options?: CallOptions): Promise<Result<"create_accounts">> {
    return this.call("create_accounts", params, options);
  }

  /**
   * Takes a wallet's words, a key or a keystore out, sealed to a key that is made for it here. The caller wipes the secret.
   *
   * @throws as {@link exportWallet}
   */
  exportWallet(asked: ExportOptions, options: CallOptions = {}): Promise<ExportedSecret> {
    return exportWallet(this.#walletCaller, asked, options);
  }

  /** Brings words or a key in, sealed to a key that the enclave's attestation names. @throws as {@link importWallet} */
  importWallet(asked: ImportOptions, options: CallOptions = {}): Promise<Result<"import_wallet">> {
    return importWallet(this.#walletCaller, asked, options);
  }

  /** Destroys a wallet; one that was never exported whole needs `withoutExport`. */
  async deleteWallet(params: Params<"delete_wallet">, options: CallOptions = {}): Promise<void> {
    await this.call("delete_wallet", params, options);
  }

  /** One page; ask again with `after` set to the last wallet's id while `more` is true. */
  listWallets(
    params: Params<"list_wallets"> = { after: null },
    options?: CallOptions,
  ): Promise<Result<"list_wallets">> {
    return this.call("list_wallets", params, options);
  }

  /** Signs a transaction of types 0 to 4, given as its unsigned bytes in lower-case hex with 0x. */
  signTransaction(params: Params<"sign_transaction">, options?: CallOptions): Promise<Result<"sign_transaction">> {
    return this.call("sign_transaction", params, options);
  }

  /** Signs a message as `personal_sign` does (EIP-191); the bytes in lower-case hex with 0x, without any prefix. */
  signMessage(params: Params<"sign_message">, options?: CallOptions): Promise<Result<"sign_message">> {
    return this.call("sign_message", params, options);
  }

  /**
   * Signs up to 64 things under one stamp, one after another; each is judged by itself and has its own result or refusal.
   *
   * @throws as {@link call}: what refuses the batch as a whole, such as a one-time password that is missing
   */
  async signBatch<const Requests extends readonly BatchSigning[]>(
    requests: Requests,
    options?: CallOptions,
  ): Promise<BatchOutcomes<Requests>> {
    return outcomesOf(requests, await this.call("sign_batch", { requests: requests.map(asJson) }, options));
  }

  /** Signs all inputs of a PSBT (base64) that are this wallet's. */
  signBitcoinTransaction(
    params: Params<"sign_bitcoin_transaction">,
    options?: CallOptions,
  ): Promise<Result<"sign_bitcoin_transaction">> {
    return this.call("sign_bitcoin_transaction", params, options);
  }

  /** Signs a message by BIP-322; the bytes in lower-case hex with 0x. */
  signBitcoinMessage(
    params: Params<"sign_bitcoin_message">,
    options?: CallOptions,
  ): Promise<Result<"sign_bitcoin_message">> {
    return this.call("sign_bitcoin_message", params, options);
  }

  /** Binds the user (`of: "user"`) or one wallet beyond what the app allows; null takes that back. */
  setPolicy(params: Params<"set_policy">, options?: CallOptions): Promise<Result<"set_policy">> {
    return this.call("set_policy", params, options);
  }

  getPolicy(params: Params<"get_policy">, options?: CallOptions): Promise<Result<"get_policy">> {
    return this.call("get_policy", params, options);
  }

  /**
   * What others ask this user to agree to, a page at a time: ask again with `after` set to `next` while that is not null.
   * The parent can leave out what this boot of the enclave has not seen.
   */
  listApprovals(
    params: Params<"list_approvals"> = { after: null },
    options?: CallOptions,
  ): Promise<Result<"list_approvals">> {
    return this.call("list_approvals", params, options);
  }

  getApproval(params: Params<"get_approval">, options?: CallOptions): Promise<Result<"get_approval">> {
    return this.call("get_approval", params, options);
  }

  /** Agrees to what has this digest: look at its `params` first. */
  approveRequest(params: Params<"approve_request">, options?: CallOptions): Promise<Result<"approve_request">> {
    return this.call("approve_request", params, options);
  }

  rejectRequest(params: Params<"reject_request">, options?: CallOptions): Promise<Result<"reject_request">> {
    return this.call("reject_request", params, options);
  }

  /** Signs EIP-712 typed data; integers over 2^53 are decimal strings. */
  signTypedData(params: Params<"sign_typed_data">, options?: CallOptions): Promise<Result<"sign_typed_data">> {
    return this.call("sign_typed_data", params, options);
  }

  /** Signs an EIP-7702 authorization, which hands the account to a contract's code. */
  signAuthorization(
    params: Params<"sign_authorization">,
    options?: CallOptions,
  ): Promise<Result<"sign_authorization">> {
    return this.call("sign_authorization", params, options);
  }

  /** Signs an ERC-4337 user operation for a smart account that this wallet owns. */
  signUserOperation(
    params: Params<"sign_user_operation">,
    options?: CallOptions,
  ): Promise<Result<"sign_user_operation">> {
    return this.call("sign_user_operation", params, options);
  }

  /**
   * Signs a Solana transaction, legacy or version 0, given as its wire bytes in lower-case hex with 0x; signatures that are
   * still missing are 64 zeros.
   */
  signSolanaTransaction(
    params: Params<"sign_solana_transaction">,
    options?: CallOptions,
  ): Promise<Result<"sign_solana_transaction">> {
    return this.call("sign_solana_transaction", params, options);
  }

  /** Signs an off-chain message, given with its head, or a text as it is; in lower-case hex with 0x. */
  signSolanaMessage(
    params: Params<"sign_solana_message">,
    options?: CallOptions,
  ): Promise<Result<"sign_solana_message">> {
    return this.call("sign_solana_message", params, options);
  }

  /**
   * Signs a digest of what the enclave does not see, and so cannot judge. Denied unless a policy names raw digests
   * (docs/raw-digests.md).
   */
  signDigest(params: Params<"sign_digest">, options?: CallOptions): Promise<Result<"sign_digest">> {
    return this.call("sign_digest", params, options);
  }

  listSessions(options?: CallOptions): Promise<Result<"list_sessions">> {
    return this.call("list_sessions", {}, options);
  }

  revokeSession(params: Params<"revoke_session">, options?: CallOptions): Promise<Result<"revoke_session">> {
    return this.call("revoke_session", params, options);
  }

  /** Ends all of the user's sessions and the login tokens of before; this session and its key with them. */
  async revokeAllSessions(options?: CallOptions): Promise<Result<"revoke_all_sessions">> {
    const result = await this.call("revoke_all_sessions", {}, options);
    await this.#renewal?.end();
    await this.#store?.clear();
    return result;
  }

  /**
   * Ends this session, here and in the enclave; one that has ended already is no error. A session whose scope does not
   * name `revoke_session` ends here alone, and in the enclave by itself (`OUT_OF_SCOPE`).
   *
   * @throws as {@link call}: ended here, and perhaps not in the enclave. Ask again.
   */
  async logOut(options: CallOptions = {}): Promise<void> {
    // What is stored should not outlive a program that is stopped in between. Whether that worked shows below.
    await this.#store?.clear().catch(() => undefined);
    try {
      this.#credential = (await this.#renewal?.end()) ?? this.#credential;
      const { key, sessionId } = this.#credential;
      const wasThere = await this.#revokeAs(key, sessionId, options);
      const pendingKey = this.#renewal?.pendingKey ?? null;
      // The present key's session is gone: a renewal whose answer was lost may have given it to the next key.
      if (!wasThere && pendingKey !== null) await this.#revokeWhatHas(pendingKey, options);
    } finally {
      await this.#store?.clear();
    }
  }

  get #walletCaller(): WalletCaller {
    return {
      client: this.#client,
      appId: this.#appId,
      userId: this.userId,
      call: (name, params, options) => this.call(name, params, options),
    };
  }

  /** Any operation inside the app, as this session. */
  async call<Name extends Parameters<Client["call"]>[0]>(
    name: Name,
    params: Params<Name>,
    options: CallOptions = {},
  ): Promise<Result<Name>> {
    await this.#renewIfDue();
    // One id for both tries: what the first may have made, the second finds.
    const asked = { ...options, requestId: options.requestId ?? crypto.randomUUID(), appId: this.#appId };
    const { key } = this.#credential;
    try {
      return await this.#client.call(name, params, { ...asked, keys: [key] });
    } catch (error) {
      if (!(await this.#hasNextKey(key, error))) throw error;
      return await this.#client.call(name, params, { ...asked, keys: [this.#credential.key] });
    }
  }

  /** Whether there is another key to ask with, once this one was refused. */
  async #hasNextKey(key: StampKey, error: unknown): Promise<boolean> {
    const isCurrent = this.#credential.key === key;
    const hasEnded = isRefused(error, "SESSION_EXPIRED");
    // Unknown is what somebody revoked, and that stays so; but also what a renewal has replaced.
    const isReplaced = isRefused(error, "SESSION_UNKNOWN") && (!isCurrent || this.#renewal?.isUnderWay === true);
    if (!hasEnded && !isReplaced) return false;
    if (isCurrent) await this.#renew();
    return this.#credential.key !== key;
  }

  async #renewIfDue(): Promise<void> {
    const leftMs = this.expiresAtMs - this.#client.nowMs();
    if (leftMs > Math.min(RENEW_BEFORE_MS, (this.#credential.lifetimeMs ?? 0) / 5)) return;
    try {
      await this.#renew();
    } catch (error) {
      // The issuer may be away for a moment, and the session is still good.
      if (this.expiresAtMs <= this.#client.nowMs()) throw error;
    }
  }

  async #renew(): Promise<void> {
    this.#credential = (await this.#renewal?.renew(this.#credential)) ?? this.#credential;
  }

  /** False if the key had no session any more. */
  async #revokeAs(key: StampKey, sessionId: string, options: CallOptions): Promise<boolean> {
    try {
      await this.#client.call("revoke_session", { sessionId }, { ...options, appId: this.#appId, keys: [key] });
      return true;
    } catch (error) {
      if (isRefused(error, "SESSION_EXPIRED") || isRefused(error, "SESSION_UNKNOWN")) return false;
      throw error;
    }
  }

  /** As {@link #revokeAs}, for a key of whose session no answer has told. */
  async #revokeWhatHas(key: StampKey, options: CallOptions): Promise<void> {
    try {
      const { sessions } = await this.#client.call("list_sessions", {}, { appId: this.#appId, keys: [key] });
      const sessionId = sessions.find(({ isCurrent }) => isCurrent)?.sessionId;
      if (sessionId !== undefined) await this.#revokeAs(key, sessionId, options);
    } catch (error) {
      if (!isRefused(error, "SESSION_EXPIRED") && !isRefused(error, "SESSION_UNKNOWN")) throw error;
    }
  }
}

/** What a store has of this app's in this deployment, if it has not ended. */
async function storedCredential(client: Client, appId: string, store: SessionStore): Promise<Credential | null> {
  const stored = await store.load();
  if (stored === null || stored.appId !== appId || stored.deployment !== client.deployment) return null;
  return stored.expiresAtMs > client.nowMs() ? { ...stored, key: await stampKeyOf(stored.pair) } : null;
}
