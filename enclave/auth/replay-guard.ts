/**
 * One stamped request is acted on once. The window is measured by the trusted clock, and a request from before this
 * boot is refused: what an earlier boot acted on, this one cannot remember. A request dated ahead waits until its time
 * has come, so that no boot ever acts on one that the next would still take for new.
 */
import { MAX_FUTURE_MS, REQUEST_WINDOW_MS, RequestError } from "../../protocol/index.ts";

/** About 100 bytes each. Over this, requests are refused rather than forgotten. */
const MAX_REMEMBERED = 1_000_000;

export interface Freshness {
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export class ReplayGuard {
  readonly #time: Freshness;
  readonly #bootedAtMs: number;
  readonly #maxRemembered: number;
  /** When each request was issued, by who asked and its id; in order of arrival. */
  readonly #seen = new Map<string, number>();

  /** @param bootedAtMs - When this enclave first knew the time: an earlier one on the same records had ended by then. */
  constructor(time: Freshness, bootedAtMs: number, maxRemembered: number = MAX_REMEMBERED) {
    this.#time = time;
    this.#bootedAtMs = bootedAtMs;
    this.#maxRemembered = maxRemembered;
  }

  /**
   * Checks when a request was issued, and waits if that is yet to come.
   *
   * @throws {@link RequestError} `REQUEST_STALE`, `REQUEST_FROM_FUTURE`
   */
  async checkTime(issuedAtMs: number): Promise<void> {
    const now = this.#time.nowMs();
    checkAge(issuedAtMs, now);
    if (issuedAtMs <= this.#bootedAtMs) {
      throw new RequestError("REQUEST_STALE", "issued before this enclave booted: stamp it again");
    }
    const aheadMs = issuedAtMs - now;
    if (aheadMs > MAX_FUTURE_MS) {
      throw new RequestError("REQUEST_FROM_FUTURE", `issued ${aheadMs} ms from now, limit ${MAX_FUTURE_MS}`);
    }
    if (aheadMs > 0) await this.#time.sleep(aheadMs);
  }

  /**
   * Takes note of an authenticated request. The same asker may ask again under the same id only with a later
   * `issuedAtMs`, which needs a new stamp: that is a retry, and never somebody's replay.
   *
   * @param asker - Whoever stamped it, so that nobody can use up another's ids.
   * @throws {@link RequestError} `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`
   */
  claim(asker: string, requestId: string, issuedAtMs: number): void {
    const key = `${asker}/${requestId}`;
    const before = this.#seen.get(key);
    if (before !== undefined && issuedAtMs <= before) {
      throw new RequestError("REQUEST_REPLAYED", "this request was acted on already");
    }
    const now = this.#time.nowMs();
    // Again: between the two checks stand the parent's answers, and a copy held up there may outlast what is remembered.
    checkAge(issuedAtMs, now);
    this.#forget(now);
    if (this.#seen.size >= this.#maxRemembered) throw new RequestError("BUSY", "too many requests within the window");
    this.#seen.delete(key);
    this.#seen.set(key, issuedAtMs);
  }

  /** Drops, from the oldest arrival on, what is refused by its age. */
  #forget(now: number): void {
    for (const [key, issuedAtMs] of this.#seen) {
      if (issuedAtMs >= now - REQUEST_WINDOW_MS) return;
      this.#seen.delete(key);
    }
  }
}

function checkAge(issuedAtMs: number, now: number): void {
  if (issuedAtMs < now - REQUEST_WINDOW_MS) {
    throw new RequestError("REQUEST_STALE", `issued ${now - issuedAtMs} ms ago, limit ${REQUEST_WINDOW_MS}`);
  }
}
