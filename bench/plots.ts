/** What a report draws: data alone, so that tests can look at it, and the page's script only hands it to uPlot. */
import type { Comparison } from "./compare.ts";
import { describePace } from "./pace.ts";
import type { Report } from "./report.ts";

export interface Plot {
  readonly title: string;
  readonly x: { readonly label: string; readonly isLogarithmic: boolean };
  readonly y: { readonly label: string; readonly isLogarithmic: boolean };
  readonly kind: "lines" | "bars";
  /** The first column is x's; gaps are null. */
  readonly columns: readonly (readonly (number | null)[])[];
  readonly series: readonly string[];
}

/** @param comparison - Adds what the run before could do to the plot of throughput. */
export function plotsOf({ loads }: Report, comparison: Comparison | null): readonly Plot[] {
  const byCallers = loads.flatMap((load) => (load.pace.kind === "closed" ? [{ x: load.pace.callers, load }] : []));
  const byRate = loads.flatMap((load) => (load.pace.kind === "open" ? [{ x: load.pace.perSecond, load }] : []));
  const before = (load: Report["loads"][number]) =>
    comparison?.rows.find(({ after }) => after === load)?.before.perSecond ?? null;
  const plots: Plot[] = [];
  if (byCallers.length > 1) {
    const compared = comparison !== null && comparison.rows.length > 0;
    plots.push({
      title: "Throughput against requests in flight",
      x: { label: "in flight", isLogarithmic: true },
      y: { label: "answers a second", isLogarithmic: false },
      kind: "lines",
      columns: [
        byCallers.map(({ x }) => x),
        byCallers.map(({ load }) => load.perSecond),
        ...(compared ? [byCallers.map(({ load }) => before(load))] : []),
      ],
      series: ["answers a second", ...(compared ? ["the run before"] : [])],
    });
  }
  for (const [points, label] of [
    [byCallers, "in flight"],
    [byRate, "asked a second"],
  ] as const) {
    if (points.length < 2) continue;
    plots.push({
      title: `Latency against requests ${label}`,
      x: { label, isLogarithmic: true },
      y: { label: "ms", isLogarithmic: true },
      kind: "lines",
      columns: [
        points.map(({ x }) => x),
        points.map(({ load }) => load.latency.p50Ms),
        points.map(({ load }) => load.latency.p99Ms),
        points.map(({ load }) => load.latency.maxMs),
      ],
      series: ["median", "99%", "slowest"],
    });
  }
  for (const load of loads) plots.push(...plotsOfLoad(load));
  return plots;
}

function plotsOfLoad({ pace, latency, timeline }: Report["loads"][number]): readonly Plot[] {
  const about = describePace(pace);
  const seconds = timeline.map(({ atS }) => atS);
  const names = [...new Set(timeline.flatMap(({ memoryMib }) => Object.keys(memoryMib)))];
  const time = { label: "s", isLogarithmic: false };
  const plots: Plot[] = [
    {
      title: `Latency over time, ${about}`,
      ...{ x: time, y: { label: "ms", isLogarithmic: true }, kind: "lines" },
      columns: [
        seconds,
        // A second without an answer has no latency: a gap, and no zero.
        timeline.map(({ p50Ms, done }) => (done === 0 ? null : p50Ms)),
        timeline.map(({ p99Ms, done }) => (done === 0 ? null : p99Ms)),
        timeline.map(({ maxMs, done }) => (done === 0 ? null : maxMs)),
      ],
      series: ["median", "99%", "slowest"],
    },
    {
      title: `Latencies, ${about}`,
      ...{
        x: { label: "ms, up to", isLogarithmic: true },
        y: { label: "requests", isLogarithmic: false },
        kind: "bars",
      },
      columns: [latency.bars.map(([ms]) => ms), latency.bars.map(([, count]) => count)],
      series: ["requests"],
    },
  ];
  if (names.length > 0) {
    plots.push({
      title: `Memory, ${about}`,
      ...{ x: time, y: { label: "MiB", isLogarithmic: false }, kind: "lines" },
      columns: [seconds, ...names.map((name) => timeline.map(({ memoryMib }) => memoryMib[name] ?? null))],
      series: names,
    });
  }
  return plots;
}
