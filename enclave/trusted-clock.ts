/**
 * The enclave's only clock: the timestamp of its own NSM documents, carried forward by the monotonic clock. The wall
 * clock is never read: a guest's drifts, and the parent may have had a hand in it.
 */
export class TrustedClock {
  readonly #monotonicMs: () => number;
  /** Add to the monotonic clock for milliseconds since 1970. */
  #offsetMs: number | undefined;
  #last = 0;
  #onMoved: (() => void) | undefined;

  /** @param monotonicMs - Milliseconds from any fixed moment; never runs backwards. */
  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** From now on `hear` is called whenever the clock was moved, before anybody reads it. */
  onMoved(hear: () => void): void {
    this.#onMoved = hear;
  }

  /**
   * Asks the NSM for a document and corrects the clock by it: the timestamp was true at some moment during the call,
   * so the clock is moved only if it stands outside that interval, and no further than to its edge.
   *
   * @param ask - Gives the document's timestamp, milliseconds since 1970.
   */
  async setBy<Answer extends { readonly timestampMs: number }>(ask: () => Promise<Answer>): Promise<Answer> {
    const askedAt = this.#monotonicMs();
    const answer = await ask();
    const answeredAt = this.#monotonicMs();
    const earliest = answer.timestampMs - answeredAt;
    const latest = answer.timestampMs - askedAt;
    const before = this.#offsetMs;
    this.#offsetMs = Math.min(Math.max(before ?? earliest, earliest), latest);
    if (this.#offsetMs !== before) this.#onMoved?.();
    return answer;
  }

  get isSet(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** Milliseconds since 1970, never less than before. Throws before the NSM was first asked. */
  nowMs(): number {
    if (this.#offsetMs === undefined) throw new Error("the clock was read before the NSM was asked");
    this.#last = Math.max(this.#last, Math.floor(this.#offsetMs + this.#monotonicMs()));
    return this.#last;
  }
}
