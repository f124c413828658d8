/** How a session gets its key, and the next one before it ends. */
import type { Result, Scope } from "../protocol/index.ts";
import type { Client } from "./client.ts";
import { RefusedError } from "./errors.ts";
import { loginNonce } from "./login-nonce.ts";
import type { SessionStore } from "./session-store.ts";
import { generateStampPair, type StampKey, stampKeyOf } from "./stamp-key.ts";

/** What a login may ask for. */
export interface SessionLimits {
  /** What the session may do; everything unless given. */
  readonly scope?: Scope;
  /** The app's default unless given, and its maximum at most. */
  readonly lifetimeS?: number;
}

export interface LoginOptions extends SessionLimits {
  readonly appId: string;
  /**
   * Gets a login token from the issuer, asked for with this `nonce`. It may give one without any nonce, since the token
   * travels sealed; but not one that was made for another key. Called again whenever the session is renewed.
   */
  readonly token: (nonce: string) => Promise<string>;
  /** In memory unless given. */
  readonly store?: SessionStore;
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

/** A key that a session was asked for. Until an answer is here and stored, nobody knows whether it has one. */
interface Pending {
  readonly pair: CryptoKeyPair;
  readonly key: StampKey;
  readonly jwt: string;
  /** The live session whose place it is to take; null: it is to have one for itself. */
  readonly replaced: Credential | null;
}

export class Renewal {
  readonly #client: Client;
  readonly #options: LoginOptions;
  readonly #store: SessionStore;
  #running: Promise<Credential | null> | undefined;
  #sent: Promise<Credential | null> | undefined;
  #pending: Pending | null = null;
  #isEnded = false;

  constructor(client: Client, options: LoginOptions, store: SessionStore) {
    this.#client = client;
    this.#options = options;
    this.#store = store;
  }

  /** Whether the enclave may have ended the present key for another, of which no answer has told yet. */
  get isUnderWay(): boolean {
    return this.#running !== undefined || this.#pending !== null;
  }

  /** The key of a request whose answer was lost. */
  get pendingKey(): StampKey | null {
    return this.#pending?.key ?? null;
  }

  /**
   * Registers a new key: in the place of a session that is live, which keeps its scope, or for itself. However many ask,
   * one runs. Where an earlier answer was lost, the same is asked again under the same key: the enclave then tells what
   * it has done, and a key that it has given the session to is not forgotten.
   *
   * @returns Null once it was ended.
   */
  renew(replaced: Credential | null): Promise<Credential | null> {
    if (this.#isEnded) return Promise.resolve(null);
    this.#running ??= this.#obtain(replaced).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /**
   * From now on nothing is asked for and nothing stored. What waits for the issuer is not waited for; what was sent is.
   *
   * @returns What that gave.
   */
  async end(): Promise<Credential | null> {
    this.#isEnded = true;
    return (await this.#sent?.catch(() => null)) ?? null;
  }

  async #obtain(replaced: Credential | null): Promise<Credential | null> {
    const pending = this.#pending;
    if (pending === null) return this.#send(await this.#prepare(replaced));
    try {
      return await this.#send(pending);
    } catch (error) {
      // Kept for so long that it has ended; or it was never good, and another may be.
      if (!(error instanceof RefusedError) || !error.code.startsWith("JWT_")) throw error;
    }
    return this.#send({ ...(this.#pending ?? pending), jwt: await this.#tokenFor(pending.key) });
  }

  async #prepare(replaced: Credential | null): Promise<Pending> {
    const pair = await generateStampPair(this.#store.extractable);
    const key = await stampKeyOf(pair);
    return { pair, key, jwt: await this.#tokenFor(key), replaced: this.#isLive(replaced) ? replaced : null };
  }

  async #tokenFor(key: StampKey): Promise<string> {
    return this.#options.token(await loginNonce(key));
  }

  #send(pending: Pending): Promise<Credential | null> {
    if (this.#isEnded) return Promise.resolve(null);
    this.#pending = pending;
    this.#sent = this.#sendAndKeep(pending).finally(() => {
      this.#sent = undefined;
    });
    return this.#sent;
  }

  async #sendAndKeep(pending: Pending): Promise<Credential | null> {
    const registered = await this.#ask(pending);
    if (registered === null) return null;
    const { deployment } = this.#client;
    const lifetimeMs = Math.max(0, registered.expiresAtMs - this.#client.nowMs());
    if (!this.#isEnded) {
      await this.#store.save({ deployment, appId: this.#options.appId, ...registered, lifetimeMs, pair: pending.pair });
    }
    this.#pending = null;
    return { ...registered, lifetimeMs, key: pending.key };
  }

  async #ask(pending: Pending): Promise<Result<"register_session"> | null> {
    const { appId } = this.#options;
    const { key, jwt, replaced } = pending;
    const { scope: _kept, ...limits } = limitsOf(this.#options);
    const asKey = { appId, keys: [key] };
    if (replaced !== null) {
      const { sessionId } = replaced;
      try {
        return await this.#client.call("refresh_session", { jwt, ...limits, sessionId }, asKey);
      } catch (error) {
        // By the enclave's clock sooner than by ours; or so long ago that it is not listed any more.
        const hasExpired =
          isRefused(error, "SESSION_EXPIRED") || (isRefused(error, "SESSION_UNKNOWN") && !this.#isLive(replaced));
        // What somebody ended on purpose is not brought back, and neither key has it.
        if (isRefused(error, "SESSION_UNKNOWN") && !hasExpired) this.#pending = null;
        if (!hasExpired) throw error;
      }
      if (this.#isEnded) return null;
      this.#pending = { ...pending, replaced: null };
    }
    return this.#client.call("register_session", { jwt, ...limitsOf(this.#options) }, asKey);
  }

  #isLive(session: Credential | null): boolean {
    return session !== null && session.expiresAtMs > this.#client.nowMs();
  }
}

/** As params: what was not given is left out. */
export function limitsOf({ scope, lifetimeS }: SessionLimits): SessionLimits {
  return { ...(scope === undefined ? {} : { scope }), ...(lifetimeS === undefined ? {} : { lifetimeS }) };
}

/** By the enclave itself. */
export function isRefused(error: unknown, code: "SESSION_EXPIRED" | "SESSION_UNKNOWN"): boolean {
  return error instanceof RefusedError && error.isFromEnclave && error.code === code;
}
