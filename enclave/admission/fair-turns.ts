/** {@link FairQueue} for who awaits a turn: a promise for each, and an end for those that have waited too long. */
import { RequestError } from "../../protocol/index.ts";
import { FairQueue, type Place } from "./fair-queue.ts";

const LOOK_FOR_LATE_MS = 1_000;

/** Why somebody got no turn. */
export type NoTurn = "full" | "late";

interface Waiter<Name extends string> {
  readonly place: Place<Name>;
  readonly resolve: (release: () => void) => void;
  readonly reject: (error: RequestError) => void;
  readonly sinceMs: number;
}

export interface FairTurnsOptions<Name extends string> extends ConstructorParamsOf<Name> {
  /** Longer than this nobody waits. */
  readonly maxWaitMs: number;
  /** Never runs backwards. */
  readonly monotonicMs: () => number;
  /** Told of everybody who waited or got no turn. */
  readonly onWaited?: (waitedMs: number) => void;
  readonly onNoTurn?: (why: NoTurn) => void;
}

type ConstructorParamsOf<Name extends string> = ConstructorParameters<typeof FairQueue<Name, never>>[0];

export class FairTurns<Name extends string> {
  readonly #queue: FairQueue<Name, Waiter<Name>>;
  readonly #options: FairTurnsOptions<Name>;
  #lateTimer: NodeJS.Timeout | undefined;

  constructor(options: FairTurnsOptions<Name>) {
    this.#queue = new FairQueue(options);
    this.#options = options;
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  get running(): number {
    return this.#queue.running;
  }

  /**
   * Waits for a turn.
   *
   * @returns What ends it; a second call does nothing.
   * @throws {@link RequestError} `BUSY`, at once if there is no room, or when the wait has become too long.
   */
  take(place: Place<Name>): Promise<() => void> {
    const { promise, resolve, reject } = Promise.withResolvers<() => void>();
    const sinceMs = this.#options.monotonicMs();
    if (this.#queue.offer({ place, resolve, reject, sinceMs }, place, sinceMs)) this.#next(sinceMs);
    else this.#refuse(reject, "full");
    return promise;
  }

  /** Nobody is looked after any more that waits too long: for the end. */
  close(): void {
    clearInterval(this.#lateTimer);
    this.#lateTimer = undefined;
  }

  #next(nowMs: number): void {
    for (let next = this.#queue.take(); next !== undefined; next = this.#queue.take()) {
      const { place, resolve, reject, sinceMs } = next;
      const waitedMs = nowMs - sinceMs;
      if (waitedMs > this.#options.maxWaitMs) {
        this.#queue.finish(place);
        this.#refuse(reject, "late");
        continue;
      }
      if (waitedMs > 0) this.#options.onWaited?.(waitedMs);
      let isOver = false;
      resolve(() => {
        if (isOver) return;
        isOver = true;
        this.#queue.finish(place);
        if (this.#queue.waiting > 0) this.#next(this.#options.monotonicMs());
      });
    }
    if (this.#queue.waiting > 0) this.#lookForLate();
    else this.close();
  }

  /** Where nothing that runs ends, nothing is taken either. */
  #lookForLate(): void {
    this.#lateTimer ??= setInterval(() => {
      const beforeMs = this.#options.monotonicMs() - this.#options.maxWaitMs;
      for (const { reject } of this.#queue.takeExpired(beforeMs)) this.#refuse(reject, "late");
      if (this.#queue.waiting === 0) this.close();
    }, LOOK_FOR_LATE_MS).unref();
  }

  #refuse(reject: (error: RequestError) => void, why: NoTurn): void {
    this.#options.onNoTurn?.(why);
    reject(new RequestError("BUSY", why === "full" ? "too many requests wait already" : "it has waited too long"));
  }
}
