/** Two runs beside each other. */
import { describePace } from "./pace.ts";
import type { Report } from "./report.ts";
import type { Load } from "./run-load.ts";

export interface Comparison {
  /** Reasons why the figures may not be comparable. */
  readonly cautions: readonly string[];
  readonly rows: readonly ComparedLoad[];
}

export interface ComparedLoad {
  readonly pace: string;
  readonly before: Load;
  readonly after: Load;
  /** After by before: above 1 is more. */
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

export function compare(before: Report, after: Report): Comparison {
  const cautions: string[] = [];
  if (before.scenario !== after.scenario) cautions.push(`another scenario: ${before.scenario}, ${after.scenario}`);
  // Another scenario may need none.
  else if (before.wallets !== after.wallets)
    cautions.push(`another number of wallets: ${before.wallets}, ${after.wallets}`);
  for (const field of ["cpu", "cores", "memoryGib", "node", "system"] as const) {
    const [first, second] = [before.machine[field], after.machine[field]];
    if (first !== second) cautions.push(`another machine: ${field} ${first}, ${second}`);
  }
  const rows = after.loads.flatMap((each) => {
    const pace = describePace(each.pace);
    const same = before.loads.find((other) => describePace(other.pace) === pace);
    return same === undefined ? [] : [compared(pace, same, each)];
  });
  if (rows.length < Math.max(before.loads.length, after.loads.length)) cautions.push("not all loads are in both runs");
  return { cautions, rows };
}

function compared(pace: string, before: Load, after: Load): ComparedLoad {
  const ratio = (pick: (load: Load) => number) => pick(after) / pick(before);
  return {
    ...{ pace, before, after },
    perSecond: ratio((each) => each.perSecond),
    p50: ratio((each) => each.latency.p50Ms),
    p99: ratio((each) => each.latency.p99Ms),
  };
}
