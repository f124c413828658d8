/** The credentials of an instance's role: always one set on offer, replaced while the set before is still good. */
import { ImdsError } from "./errors.ts";

/** EC2's are good for about six hours. */
const DEFAULT_LIFETIME_MS = 6 * 60 * 60_000;
/** EC2 User Guide, "Retrieve security credentials": new ones are there at least five minutes before the old expire. */
const DEFAULT_OFFERED_BEFORE_EXPIRY_MS = 5 * 60_000;

/** Milliseconds since 1970, whole seconds. */
export interface Lifetime {
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export interface IssuedKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

export interface RotationOptions {
  /** Makes a set, and tells whoever must know it. */
  readonly issue: (lifetime: Lifetime) => IssuedKeys;
  /** Six hours unless given. */
  readonly lifetimeMs?: number;
  /** Five minutes unless given; less than the lifetime. */
  readonly offeredBeforeExpiryMs?: number;
}

export class RotatingCredentials {
  readonly #issue: RotationOptions["issue"];
  readonly #lifetimeMs: number;
  readonly #offeredBeforeExpiryMs: number;
  #offered: (Lifetime & IssuedKeys) | undefined;

  /** @throws {@link ImdsError} `INVALID_LIFETIME` */
  constructor(options: RotationOptions) {
    const { lifetimeMs = DEFAULT_LIFETIME_MS, offeredBeforeExpiryMs = DEFAULT_OFFERED_BEFORE_EXPIRY_MS } = options;
    if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs < 1000 || lifetimeMs % 1000 !== 0) {
      throw new ImdsError("INVALID_LIFETIME", "expected a lifetime of whole seconds, in milliseconds");
    }
    if (!(offeredBeforeExpiryMs >= 0 && offeredBeforeExpiryMs < lifetimeMs)) {
      throw new ImdsError("INVALID_LIFETIME", "expected new credentials to be offered within the lifetime of the old");
    }
    this.#issue = options.issue;
    this.#lifetimeMs = lifetimeMs;
    this.#offeredBeforeExpiryMs = offeredBeforeExpiryMs;
  }

  /**
   * The newest set. It is made when it is asked for, so a lifetime starts with the first who looks.
   *
   * @param mayRotate - False: the set from before, however old it is, unless there was none.
   */
  offeredAt(nowMs: number, mayRotate: boolean): Lifetime & IssuedKeys {
    const held = this.#offered;
    if (held !== undefined && (!mayRotate || nowMs < held.expiresAtMs - this.#offeredBeforeExpiryMs)) return held;
    const issuedAtMs = Math.floor(nowMs / 1000) * 1000;
    const lifetime = { issuedAtMs, expiresAtMs: issuedAtMs + this.#lifetimeMs };
    this.#offered = { ...lifetime, ...this.#issue(lifetime) };
    return this.#offered;
  }
}
