/** Puts one load on a service for some time, and measures what a caller sees. */
import { performance } from "node:perf_hooks";
import { Latencies, type LatencySummary } from "./latencies.ts";
import { arrivals, type Pace } from "./pace.ts";

export interface LoadOptions {
  /** One request; a rejection counts as a failure under its `code`. */
  readonly work: (number: number) => Promise<unknown>;
  readonly pace: Pace;
  /** Asked for, and not counted. */
  readonly warmUpS: number;
  readonly durationS: number;
  /** MiB by name, asked once a second. */
  readonly memoryMib?: () => Promise<Readonly<Record<string, number>>>;
  /** Once a second. */
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  readonly random?: () => number;
}

export interface Progress {
  /** Of warm-up and measurement together, from 0 to 1. */
  readonly share: number;
  readonly isWarmUp: boolean;
  readonly perSecond: number;
  readonly failed: number;
}

export interface Load {
  readonly pace: Pace;
  readonly measuredS: number;
  /** Requests that were due in the measured time and answered well. */
  readonly done: number;
  readonly perSecond: number;
  /** By code. */
  readonly failed: Readonly<Record<string, number>>;
  /** From the moment a request was due to its checked answer. */
  readonly latency: LatencySummary;
  readonly timeline: readonly Second[];
  /** How busy this process' event loop was, from 0 to 1: near 1 it measured itself. */
  readonly generatorBusy: number;
}

export interface Second {
  readonly atS: number;
  readonly done: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly memoryMib: Readonly<Record<string, number>>;
}

/** Requests without an answer that long after the end are failures. */
const LINGER_MS = 30_000;
/** An open loop beyond what the service can do would use up this process' memory: what is due then waits its turn. */
const MAX_IN_FLIGHT = 4096;

/** @throws Whatever the signal was aborted with. */
export async function runLoad(options: LoadOptions): Promise<Load> {
  return new RunningLoad(options).run();
}

interface MeasuredSecond {
  readonly latencies: Latencies;
  failed: number;
  memoryMib: Readonly<Record<string, number>>;
}

class RunningLoad {
  readonly #options: LoadOptions;
  readonly #latencies = new Latencies();
  readonly #failed = new Map<string, number>();
  readonly #seconds = new Map<number, MeasuredSecond>();
  #startedAt = 0;
  #number = 0;
  #answered = 0;
  #failures = 0;
  #inFlight = 0;
  #woken: (() => void) | undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  async run(): Promise<Load> {
    const { pace, warmUpS, durationS } = this.#options;
    this.#startedAt = performance.now();
    const ticking = setInterval(() => this.#tick(), 1000);
    let busyFrom = performance.eventLoopUtilization();
    const measuring = setTimeout(() => {
      busyFrom = performance.eventLoopUtilization();
    }, warmUpS * 1000);
    try {
      await (pace.kind === "closed" ? this.#runClosed(pace.callers) : this.#runOpen(pace.perSecond));
      const busy = performance.eventLoopUtilization(busyFrom).utilization;
      await this.#settle();
      const latency = this.#latencies.summary();
      return {
        pace,
        measuredS: durationS,
        done: latency.count,
        perSecond: latency.count / durationS,
        failed: Object.fromEntries(this.#failed),
        latency,
        timeline: this.#timeline(),
        generatorBusy: busy,
      };
    } finally {
      clearInterval(ticking);
      clearTimeout(measuring);
    }
  }

  /** Every second that was measured: one without any answer is the most telling of all. */
  #timeline(): Second[] {
    return Array.from({ length: Math.ceil(this.#options.durationS) }, (_, at) => {
      const { latencies, failed, memoryMib } = this.#secondAt(at);
      const { count, p50Ms, p99Ms, maxMs } = latencies.summary();
      return { atS: at + 1, done: count, failed, p50Ms, p99Ms, maxMs, memoryMib };
    });
  }

  get #endsAtMs(): number {
    return (this.#options.warmUpS + this.#options.durationS) * 1000;
  }

  #nowMs(): number {
    return performance.now() - this.#startedAt;
  }

  async #runClosed(callers: number): Promise<void> {
    const caller = async () => {
      for (let dueMs = this.#nowMs(); dueMs < this.#endsAtMs; dueMs = this.#nowMs()) {
        this.#options.signal?.throwIfAborted();
        await this.#one(dueMs);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  async #runOpen(perSecond: number): Promise<void> {
    for (const dueMs of arrivals(perSecond, this.#options.random ?? Math.random)) {
      if (dueMs >= this.#endsAtMs) return;
      this.#options.signal?.throwIfAborted();
      const waitMs = dueMs - this.#nowMs();
      // Timers are no finer than a millisecond; what is a little early or late is counted from when it was due.
      if (waitMs > 0.5) await new Promise((resolve) => setTimeout(resolve, waitMs));
      while (this.#inFlight >= MAX_IN_FLIGHT) await this.#nextAnswer();
      void this.#one(dueMs);
    }
  }

  async #one(dueMs: number): Promise<void> {
    const number = this.#number;
    this.#number += 1;
    this.#inFlight += 1;
    const second = Math.floor(dueMs / 1000 - this.#options.warmUpS);
    const isMeasured = dueMs >= this.#options.warmUpS * 1000;
    try {
      await this.#options.work(number);
      if (isMeasured) this.#count(second, this.#nowMs() - dueMs);
    } catch (error) {
      if (isMeasured) this.#countFailure(second, codeOf(error));
    } finally {
      this.#inFlight -= 1;
      this.#woken?.();
    }
  }

  #count(second: number, ms: number): void {
    this.#answered += 1;
    this.#latencies.record(ms);
    this.#secondAt(second).latencies.record(ms);
  }

  #countFailure(second: number, code: string): void {
    this.#failures += 1;
    this.#failed.set(code, (this.#failed.get(code) ?? 0) + 1);
    this.#secondAt(second).failed += 1;
  }

  #secondAt(at: number): MeasuredSecond {
    const known = this.#seconds.get(at);
    if (known !== undefined) return known;
    const made = { latencies: new Latencies(), failed: 0, memoryMib: {} };
    this.#seconds.set(at, made);
    return made;
  }

  #nextAnswer(): Promise<void> {
    return new Promise((resolve) => {
      this.#woken = () => {
        this.#woken = undefined;
        resolve();
      };
    });
  }

  /** Answers that are still due are waited for: leaving out the slowest would flatter the figures. */
  async #settle(): Promise<void> {
    const untilMs = this.#nowMs() + LINGER_MS;
    const late = setInterval(() => this.#woken?.(), 100);
    try {
      while (this.#inFlight > 0 && this.#nowMs() < untilMs) await this.#nextAnswer();
    } finally {
      clearInterval(late);
    }
    if (this.#inFlight > 0) this.#failed.set("NO_ANSWER", this.#inFlight);
  }

  #tick(): void {
    const { warmUpS, durationS, memoryMib, onProgress } = this.#options;
    const atS = this.#nowMs() / 1000 - warmUpS;
    onProgress?.({
      share: Math.min(1, this.#nowMs() / this.#endsAtMs),
      isWarmUp: atS < 0,
      perSecond: atS <= 0 ? 0 : this.#answered / Math.min(atS, durationS),
      failed: this.#failures,
    });
    const second = Math.floor(atS) - 1;
    if (memoryMib === undefined || second < 0 || second >= durationS) return;
    memoryMib().then(
      (memory) => {
        this.#secondAt(second).memoryMib = memory;
      },
      // A process that is gone has no memory to tell of; requests show that it is gone.
      () => undefined,
    );
  }
}

function codeOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "code" in error && typeof error.code === "string") {
    return error.code;
  }
  return error instanceof Error ? error.name : "UNKNOWN";
}
