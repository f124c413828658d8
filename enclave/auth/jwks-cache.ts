/** Identity providers' keys, fetched over TLS that ends in the enclave. */
import { createLocalJWKSet, errors, type JWTHeaderParameters } from "jose";
import { RequestError } from "../../protocol/index.ts";
import { fetchKeys, type KeySource, nameOf } from "./key-source.ts";
import { usableKeys } from "./usable-keys.ts";

/** A key set is fetched again after this. */
const MAX_AGE_MS = 10 * 60_000;
/** While its host is away an older set still serves, up to here: a key that was withdrawn must not live on for ever. */
const MAX_STALE_MS = 60 * 60_000;
/** An unknown `kid` asks for a fetch at most once in this time, whoever sends such tokens. */
const REFETCH_INTERVAL_MS = 30_000;
/** While there is no set at all, logins wait for the issuer to come back, and a little sooner. */
const RETRY_INTERVAL_MS = 1_000;
/** Anybody can send a token, so not every login may wait: the places belong to requests in sessions as well. */
const MAX_WAITING = 128;

type VerificationKey = Awaited<ReturnType<ReturnType<typeof createLocalJWKSet>>>;

interface CachedSet {
  readonly find: ReturnType<typeof createLocalJWKSet>;
  readonly fetchedAtMs: number;
}

interface Cached {
  readonly source: KeySource;
  set: CachedSet | undefined;
  triedAtMs: number;
  fetching: Promise<void> | undefined;
}

export class JwksCache {
  readonly #fetchJson: (url: URL) => Promise<unknown>;
  readonly #nowMs: () => number;
  /** Only administrators name sources, so this stays small. */
  readonly #cache = new Map<string, Cached>();
  #waiting = 0;

  constructor(options: { readonly fetchJson: (url: URL) => Promise<unknown>; readonly nowMs: () => number }) {
    this.#fetchJson = options.fetchJson;
    this.#nowMs = options.nowMs;
  }

  /**
   * Finds the key that a token's header names.
   *
   * @throws {@link RequestError} `JWT_KEY_UNKNOWN`, `JWKS_UNAVAILABLE`, `BUSY`
   */
  async find(source: KeySource, header: JWTHeaderParameters): Promise<VerificationKey> {
    const cached = this.#cachedOf(source);
    if (this.#ageOf(cached) > MAX_AGE_MS) await this.#fetch(cached);
    if (cached.set === undefined || this.#ageOf(cached) > MAX_STALE_MS) {
      throw new RequestError("JWKS_UNAVAILABLE", "the issuer's keys cannot be fetched");
    }
    try {
      return await findIn(cached.set, header);
    } catch (error) {
      const mayBeNew = error instanceof errors.JWKSNoMatchingKey;
      if (!mayBeNew || this.#nowMs() - cached.triedAtMs < REFETCH_INTERVAL_MS) throw unknownKey(error);
    }
    await this.#fetch(cached);
    return findIn(cached.set, header).catch((error: unknown) => {
      throw unknownKey(error);
    });
  }

  #cachedOf(source: KeySource): Cached {
    const name = nameOf(source);
    let cached = this.#cache.get(name);
    if (cached === undefined) {
      cached = { source, set: undefined, triedAtMs: Number.NEGATIVE_INFINITY, fetching: undefined };
      this.#cache.set(name, cached);
    }
    return cached;
  }

  #ageOf({ set }: Cached): number {
    return set === undefined ? Number.POSITIVE_INFINITY : this.#nowMs() - set.fetchedAtMs;
  }

  /** However many wait for it, one fetch runs. A failed one leaves the old set, if there is one, in its place. */
  async #fetch(cached: Cached): Promise<void> {
    const interval = cached.set === undefined ? RETRY_INTERVAL_MS : REFETCH_INTERVAL_MS;
    if (cached.fetching === undefined && this.#nowMs() - cached.triedAtMs < interval) return;
    cached.fetching ??= this.#fetchOnce(cached).finally(() => {
      cached.fetching = undefined;
    });
    if (this.#waiting >= MAX_WAITING) throw new RequestError("BUSY", "too many logins wait for issuers' keys");
    this.#waiting += 1;
    try {
      await cached.fetching;
    } finally {
      this.#waiting -= 1;
    }
  }

  async #fetchOnce(cached: Cached): Promise<void> {
    cached.triedAtMs = this.#nowMs();
    try {
      const keys = usableKeys(await fetchKeys(cached.source, this.#fetchJson));
      cached.set = { find: createLocalJWKSet(keys), fetchedAtMs: this.#nowMs() };
    } catch {
      // Told by the set's age: find() refuses when it is too old or was never there.
    }
  }
}

async function findIn({ find }: CachedSet, header: JWTHeaderParameters): Promise<VerificationKey> {
  return await find(header);
}

function unknownKey(cause: unknown): RequestError {
  return new RequestError("JWT_KEY_UNKNOWN", "the issuer's key set has no key for this token", { cause });
}
