/** Latencies: exact enough at any size, small at any count. Node's histogram is an HDR histogram (three figures). */
import { createHistogram } from "node:perf_hooks";

/** An hour: what takes longer counts as that. */
const MAX_US = 3_600_000_000;
/** Per doubling, for the plot: each bar is 19% wide. */
const BARS_PER_OCTAVE = 4;

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** Upper end in milliseconds and count, of bars that grow by a fourth root of 2; empty ones are left out. */
  readonly bars: readonly (readonly [number, number])[];
}

export class Latencies {
  readonly #histogram = createHistogram({ lowest: 1, highest: MAX_US, figures: 3 });
  readonly #bars = new Map<number, number>();

  /** @param ms - Below a microsecond counts as one. */
  record(ms: number): void {
    const us = Math.min(MAX_US, Math.max(1, Math.round(ms * 1000)));
    this.#histogram.record(us);
    const bar = Math.ceil(Math.log2(us) * BARS_PER_OCTAVE);
    this.#bars.set(bar, (this.#bars.get(bar) ?? 0) + 1);
  }

  summary(): LatencySummary {
    const { count, mean, max } = this.#histogram;
    const at = (percentile: number) => (count === 0 ? 0 : this.#histogram.percentile(percentile) / 1000);
    return {
      count,
      meanMs: count === 0 ? 0 : mean / 1000,
      p50Ms: at(50),
      p90Ms: at(90),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: count === 0 ? 0 : max / 1000,
      bars: [...this.#bars]
        .sort(([first], [second]) => first - second)
        .map(([bar, howMany]) => [2 ** (bar / BARS_PER_OCTAVE) / 1000, howMany]),
    };
  }
}
