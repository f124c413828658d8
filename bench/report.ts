/** A run written down: what was measured, on what machine, and how. Another run can be compared with it. */
import { z } from "../protocol/index.ts";
import type { Load } from "./run-load.ts";

const count = z.int().check(z.nonnegative());
const latency = z.strictObject({
  ...{ count, meanMs: z.number(), p50Ms: z.number(), p90Ms: z.number(), p99Ms: z.number() },
  ...{ p999Ms: z.number(), maxMs: z.number(), bars: z.array(z.tuple([z.number(), count])) },
});
const memoryMib = z.record(z.string(), z.number());
const load = z.strictObject({
  pace: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("closed"), callers: z.int() }),
    z.strictObject({ kind: z.literal("open"), perSecond: z.number() }),
  ]),
  measuredS: z.number(),
  done: count,
  perSecond: z.number(),
  failed: z.record(z.string(), count),
  latency,
  timeline: z.array(
    z.strictObject({
      ...{ atS: z.int(), done: count, failed: count, p50Ms: z.number(), p99Ms: z.number(), maxMs: z.number() },
      memoryMib,
    }),
  ),
  generatorBusy: z.number(),
});

const report = z.strictObject({
  kind: z.literal("cloister-bench"),
  v: z.literal(1),
  /** ISO 8601. */
  startedAt: z.string(),
  scenario: z.string(),
  /** Where requests went: a URL, or `simulated`. */
  target: z.string(),
  /** Wallets that requests were spread over. */
  wallets: count,
  machine: z.strictObject({
    ...{ cpu: z.string(), cores: z.int(), memoryGib: z.number(), node: z.string(), system: z.string() },
  }),
  loads: z.array(load).check(z.minLength(1)),
});

export interface Report {
  readonly kind: "cloister-bench";
  readonly v: 1;
  readonly startedAt: string;
  readonly scenario: string;
  readonly target: string;
  readonly wallets: number;
  readonly machine: Machine;
  readonly loads: readonly Load[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly node: string;
  readonly system: string;
}

/** @throws Error for what is no report of this version. */
export function parseReport(text: string): Report {
  const parsed = report.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error("not a report of this version of cloister bench");
  return parsed.data;
}
