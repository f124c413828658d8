/**
 * The trusted clock in another thread: what is to be added to the machine's monotonic clock, which is the same for all
 * threads. The main thread says so, and again now and then.
 */
const OFFSET = 0;
const LAST = 1;
/** Of the monotonic clock's beginning: no enclave runs in 1970. */
const UNSET = 0n;

export class SharedClock {
  readonly buffer = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT);
  readonly #cells = new BigInt64Array(this.buffer);

  /** @param nowMs - By the trusted clock. */
  set(nowMs: number): void {
    Atomics.store(this.#cells, OFFSET, BigInt(nowMs) * 1000n - process.hrtime.bigint() / 1000n);
  }

  /** What the other thread has last read: nothing that it has acted on is dated later. */
  get lastMs(): number {
    return Number(Atomics.load(this.#cells, LAST));
  }
}

/** Of the other thread. */
export class FollowingClock {
  readonly #cells: BigInt64Array;
  /** `performance.now` begins anew in each thread, and what it counts by does not. */
  readonly #beganMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  #last = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new BigInt64Array(buffer);
  }

  /** Milliseconds since 1970, never less than before. Throws before it was set. */
  nowMs(): number {
    const offset = Atomics.load(this.#cells, OFFSET);
    if (offset === UNSET) throw new Error("the clock was read before it was set");
    const nowMs = Math.floor(Number(offset) / 1000 + this.#beganMs + performance.now());
    if (nowMs > this.#last) {
      this.#last = nowMs;
      Atomics.store(this.#cells, LAST, BigInt(nowMs));
    }
    return this.#last;
  }
}
