/**
 * One stamped request is acted on once. The window is measured by the trusted clock, and a request from before this
 * boot is refused: what an earlier boot acted on, this one cannot remember. A request dated ahead waits until its time
 * has come, so that no boot ever acts on one that the next would still take for new. That holds for boots that follow
 * one another; of several on one store each acts once, and what must not be done twice is for one of them alone
 * (`once-for-all.ts`).
 */
import { MAX_FUTURE_MS, REQUEST_WINDOW_MS, RequestError } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";

/** Some 400 bytes each (measured). Over this, requests are refused rather than forgotten. */
export const MAX_REMEMBERED = 400_000;
/** Of these no single asker may take more than half: one busy backend does not shut the others out. */
const ASKER_SHARE = 2;
/** Requests that wait for their time. Each holds a place among those that the enclave works on. */
export const MAX_WAITING = 32;
const ASKER_SHARE_OF_WAITING = 4;

export interface Freshness {
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export class ReplayGuard {
  readonly #time: Freshness;
  readonly #bootedAtMs: number;
  readonly #maxRemembered: number;
  readonly #windowMs: number;
  readonly #maxWaiting: number;
  /** When each request was issued, by who asked and its id; in order of arrival. */
  readonly #seen = new RecencyMap<string, { readonly asker: string; readonly issuedAtMs: number }>();
  readonly #countByAsker = new Map<string, number>();
  readonly #waitingByAsker = new Map<string, number>();
  #waiting = 0;

  /**
   * @param bootedAtMs - When this enclave first knew the time.
   * @param windowMs - How old a request may be, and so how long it is remembered.
   */
  constructor(
    time: Freshness,
    bootedAtMs: number,
    maxRemembered: number = MAX_REMEMBERED,
    windowMs: number = REQUEST_WINDOW_MS,
    maxWaiting: number = MAX_WAITING,
  ) {
    this.#time = time;
    this.#bootedAtMs = bootedAtMs;
    this.#maxRemembered = maxRemembered;
    this.#windowMs = windowMs;
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Checks when a request was issued: cheap, and before anything is known of who asks.
   *
   * @throws {@link RequestError} `REQUEST_STALE`, `REQUEST_FROM_FUTURE`
   */
  checkTime(issuedAtMs: number): void {
    const now = this.#time.nowMs();
    if (issuedAtMs < now - this.#windowMs) {
      throw new RequestError("REQUEST_STALE", `issued ${now - issuedAtMs} ms ago, limit ${this.#windowMs}`);
    }
    if (issuedAtMs <= this.#bootedAtMs) {
      throw new RequestError("REQUEST_STALE", "issued before this enclave booted: stamp it again");
    }
    const aheadMs = issuedAtMs - now;
    if (aheadMs > MAX_FUTURE_MS) {
      throw new RequestError("REQUEST_FROM_FUTURE", `issued ${aheadMs} ms from now, limit ${MAX_FUTURE_MS}`);
    }
  }

  /**
   * Takes note of an authenticated request, and waits for its time if that is yet to come. The same asker may ask again
   * under the same id only with a later `issuedAtMs`, which needs a new stamp: that is a retry, and never somebody's
   * replay.
   *
   * @param asker - Whoever stamped it, so that nobody can use up another's ids.
   * @returns Whether it waited: what was found out before may not hold any more.
   * @throws {@link RequestError} `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`
   */
  async claim(asker: string, requestId: string, issuedAtMs: number): Promise<boolean> {
    const hasWaited = issuedAtMs > this.#time.nowMs();
    if (hasWaited) await this.#waitFor(asker, issuedAtMs);
    // Again: between the two checks stand the parent's answers, and a copy held up there may outlast what is remembered.
    this.checkTime(issuedAtMs);
    this.#forget();
    const key = `${asker}/${requestId}`;
    const before = this.#seen.get(key);
    if (before !== undefined && issuedAtMs <= before.issuedAtMs) {
      throw new RequestError("REQUEST_REPLAYED", "this request was acted on already");
    }
    if (before === undefined) {
      this.#checkRoom(asker);
      this.#countByAsker.set(asker, (this.#countByAsker.get(asker) ?? 0) + 1);
    }
    this.#seen.set(key, { asker, issuedAtMs });
    return hasWaited;
  }

  #checkRoom(asker: string): void {
    const count = this.#countByAsker.get(asker) ?? 0;
    if (this.#seen.size >= this.#maxRemembered || count >= this.#maxRemembered / ASKER_SHARE) {
      throw new RequestError("BUSY", "too many requests within the window");
    }
  }

  async #waitFor(asker: string, issuedAtMs: number): Promise<void> {
    const waiting = this.#waitingByAsker.get(asker) ?? 0;
    if (this.#waiting >= this.#maxWaiting || waiting >= Math.ceil(this.#maxWaiting / ASKER_SHARE_OF_WAITING)) {
      throw new RequestError("BUSY", "too many requests wait for their time: date them by the enclave's clock");
    }
    this.#waiting += 1;
    this.#waitingByAsker.set(asker, waiting + 1);
    try {
      // Again if a timer comes early: not a millisecond before its time.
      while (issuedAtMs > this.#time.nowMs()) await this.#time.sleep(issuedAtMs - this.#time.nowMs());
    } finally {
      this.#waiting -= 1;
      countDown(this.#waitingByAsker, asker);
    }
  }

  /** Drops, from the oldest arrival on, what is refused by its age. */
  #forget(): void {
    const oldest = this.#time.nowMs() - this.#windowMs;
    for (const [key, { asker, issuedAtMs }] of this.#seen) {
      if (issuedAtMs >= oldest) return;
      this.#seen.delete(key);
      countDown(this.#countByAsker, asker);
    }
  }
}

function countDown(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
