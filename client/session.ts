/** A logged-in user, for as long as the issuer vouches for them. */
import type { Params, Result, Scope } from "../protocol/index.ts";
import { Account } from "./account.ts";
import type { CallOptions, Client } from "./client.ts";
import { RefusedError } from "./errors.ts";
import { loginNonce } from "./login-nonce.ts";
import { memoryStore, type SessionStore, type StoredSession } from "./session-store.ts";
import { generateStampPair, type StampKey, stampKeyOf } from "./stamp-key.ts";

/** A session is renewed when so much of it is left, or a fifth if that is less. */
const RENEW_BEFORE_MS = 60_000;

export interface LoginOptions {
  readonly appId: string;
  /**
   * Gets a login token from the issuer, asked for with this `nonce`. It may give one without any nonce, since the token
   * travels sealed; but not one that was made for another key. Called again whenever the session is renewed.
   */
  readonly token: (nonce: string) => Promise<string>;
  /** In memory unless given. */
  readonly store?: SessionStore;
  /** What the session may do; everything unless given. */
  readonly scope?: Scope;
  /** The app's default unless given. */
  readonly lifetimeS?: number;
}

/** What a session stamps with, and until when. */
export interface Credential {
  readonly key: StampKey;
  readonly sessionId: string;
  readonly userId: string;
  readonly expiresAtMs: number;
  /** Of a session that is renewed. */
  readonly lifetimeMs?: number;
}

interface Renewal {
  readonly options: LoginOptions;
  readonly store: SessionStore;
}

export class Session {
  readonly #client: Client;
  readonly #appId: string;
  /** Null where the caller holds key and token: such a session ends by itself. */
  readonly #renewal: Renewal | null;
  #credential: Credential;
  #renewing: Promise<void> | undefined;

  /** @internal Use {@link Session.login} or {@link Client.login}. */
  constructor(client: Client, appId: string, credential: Credential, renewal: Renewal | null = null) {
    this.#client = client;
    this.#appId = appId;
    this.#credential = credential;
    this.#renewal = renewal;
  }

  /**
   * Logs in, or goes on with the session that the store still has. The session renews itself before it ends, each time
   * with a new key and a token for it.
   *
   * @throws {@link RefusedError}, {@link ClientError}, and whatever `token` and the store throw
   */
  static async login(client: Client, options: LoginOptions): Promise<Session> {
    const store = options.store ?? memoryStore();
    const stored = await store.load();
    const isOurs = stored?.appId === options.appId && stored.deployment === client.deployment;
    const leftMs = isOurs ? stored.expiresAtMs - client.nowMs() : 0;
    if (stored !== null && leftMs > 0) {
      const key = await stampKeyOf(stored.pair);
      return new Session(client, options.appId, { ...stored, key }, { options, store });
    }
    return new Session(client, options.appId, await obtain(client, options, store, null), { options, store });
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

  createWallet(params: Params<"create_wallet">, options?: CallOptions): Promise<Result<"create_wallet">> {
    return this.call("create_wallet", params, options);
  }

  /** One page; ask again with `after` set to the last wallet's id while `more` is true. */
  listWallets(
    params: Params<"list_wallets"> = { after: null },
    options?: CallOptions,
  ): Promise<Result<"list_wallets">> {
    return this.call("list_wallets", params, options);
  }

  /** Signs an EIP-1559 transaction, given as its unsigned EIP-2718 bytes in lower-case hex with 0x. */
  signTransaction(params: Params<"sign_transaction">, options?: CallOptions): Promise<Result<"sign_transaction">> {
    return this.call("sign_transaction", params, options);
  }

  /** Signs a message as `personal_sign` does (EIP-191); the bytes in lower-case hex with 0x, without any prefix. */
  signMessage(params: Params<"sign_message">, options?: CallOptions): Promise<Result<"sign_message">> {
    return this.call("sign_message", params, options);
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
    await this.#renewal?.store.clear();
    return result;
  }

  /** Ends this session, here and in the enclave. */
  async logOut(options?: CallOptions): Promise<void> {
    await this.#renewal?.store.clear();
    await this.call("revoke_session", { sessionId: this.sessionId }, options);
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
      const hasExpired = error instanceof RefusedError && error.isFromEnclave && error.code === "SESSION_EXPIRED";
      if (!hasExpired || this.#renewal === null) throw error;
      if (this.#credential.key === key) await this.#renew(this.#renewal);
      return await this.#client.call(name, params, { ...asked, keys: [this.#credential.key] });
    }
  }

  async #renewIfDue(): Promise<void> {
    const renewal = this.#renewal;
    if (renewal === null) return;
    const leftMs = this.expiresAtMs - this.#client.nowMs();
    if (leftMs > Math.min(RENEW_BEFORE_MS, (this.#credential.lifetimeMs ?? 0) / 5)) return;
    try {
      await this.#renew(renewal);
    } catch (error) {
      // The issuer may be away for a moment, and the session is still good.
      if (this.expiresAtMs <= this.#client.nowMs()) throw error;
    }
  }

  /** However many calls find it due, one renewal runs. */
  #renew({ options, store }: Renewal): Promise<void> {
    this.#renewing ??= obtain(this.#client, options, store, this.#credential)
      .then((credential) => {
        this.#credential = credential;
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }
}

/** Registers a new key: in the place of a session that is live, which keeps its scope, or for itself. */
async function obtain(
  client: Client,
  options: LoginOptions,
  store: SessionStore,
  replaced: Credential | null,
): Promise<Credential> {
  const { appId, scope, lifetimeS } = options;
  const pair = await generateStampPair(store.extractable);
  const key = await stampKeyOf(pair);
  const jwt = await options.token(await loginNonce(key));
  const asked = { jwt, ...(lifetimeS === undefined ? {} : { lifetimeS }) };
  const asKey = { appId, keys: [key] };
  const register = () =>
    client.call("register_session", { ...asked, ...(scope === undefined ? {} : { scope }) }, asKey);
  const isLive = replaced !== null && replaced.expiresAtMs > client.nowMs();
  const registered = isLive
    ? await client
        .call("refresh_session", { ...asked, sessionId: replaced.sessionId }, asKey)
        .catch((error: unknown) => (hasEnded(error) ? register() : Promise.reject(error)))
    : await register();
  const lifetimeMs = Math.max(0, registered.expiresAtMs - client.nowMs());
  const stored: StoredSession = { deployment: client.deployment, appId, ...registered, lifetimeMs, pair };
  await store.save(stored);
  return { ...registered, lifetimeMs, key };
}

/** By the enclave's clock sooner than by ours. What somebody ended on purpose is not brought back. */
function hasEnded(error: unknown): boolean {
  return error instanceof RefusedError && error.isFromEnclave && error.code === "SESSION_EXPIRED";
}
