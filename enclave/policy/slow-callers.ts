/**
 * Of callers whose requests take long to judge, one request is judged in each turn of the event loop, and others come between: what
 * requests need may all be in memory, so that a hundred that arrive together would hold the thread until the last is judged.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { RequestError } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";
import { TRUSTED_FOR_MS } from "../vault/fresh-cache.ts";

/** Conditions that were looked at: a millisecond's worth. By the clock everybody is slow where the machine is. */
const MANY_STEPS = 2_000;
/** Beyond so many, who was slow longest ago is taken for quick again, once. */
const MAX_SLOW = 1_000;

interface Judged<Result> {
  readonly result: Result;
  readonly steps: number;
}

export class SlowCallers {
  readonly #slow = new RecencyMap<string, true>(MAX_SLOW);
  readonly #nextTurn: () => Promise<unknown>;
  #turn: Promise<void> | null = null;

  /** @param turn - Until others have had theirs; the event loop's next turn unless a test counts them. */
  constructor(turn: () => Promise<unknown> = nextTurn) {
    this.#nextTurn = turn;
  }

  /**
   * Does the work at once, unless the caller was slow the last time and somebody slow has had this turn.
   *
   * @param work - Says how many conditions it looked at.
   * @throws {@link RequestError} `BUSY` for who has waited so long that what the request rests on is old: nothing was judged.
   */
  async judge<Result>(caller: string, work: () => Judged<Result>): Promise<Result> {
    const sinceMs = performance.now();
    while (this.#turn !== null && this.#slow.has(caller)) {
      await this.#turn;
      if (performance.now() - sinceMs < TRUSTED_FOR_MS) continue;
      throw new RequestError("BUSY", "too many requests wait that take long to judge");
    }
    const { result, steps } = work();
    if (steps < MANY_STEPS) this.#slow.delete(caller);
    else this.#noteSlow(caller);
    return result;
  }

  #noteSlow(caller: string): void {
    this.#slow.set(caller, true);
    this.#turn ??= this.#nextTurn().then(() => {
      this.#turn = null;
    });
  }
}
