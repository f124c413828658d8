import { expect, test } from "vitest";
import { arrivals, Latencies, runLoad } from "../../bench/index.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function refusal(code: string): Error {
  return Object.assign(new Error("no"), { code });
}

test("a closed loop never has more in flight than it has callers, and counts what comes back", async () => {
  let inFlight = 0;
  let most = 0;
  const load = await runLoad({
    pace: { kind: "closed", callers: 5 },
    ...{ warmUpS: 0.1, durationS: 0.4 },
    work: async () => {
      inFlight += 1;
      most = Math.max(most, inFlight);
      await sleep(5);
      inFlight -= 1;
    },
  });
  expect(most).toBe(5);
  expect(load.done).toBeGreaterThan(0);
  expect(load.perSecond).toBeCloseTo(load.done / 0.4, 6);
  expect(load.failed).toEqual({});
  expect(load.latency.count).toBe(load.done);
  expect(load.timeline.reduce((sum, { done }) => sum + done, 0)).toBe(load.done);
});

test("an open loop counts from when a request was due: a stall shows in all that waited for it", async () => {
  let isStalled = true;
  const stall = sleep(600).then(() => {
    isStalled = false;
  });
  const load = await runLoad({
    pace: { kind: "open", perSecond: 200 },
    ...{ warmUpS: 0, durationS: 1 },
    work: async () => {
      if (isStalled) await stall;
    },
  });
  // Some 120 of 200 were due while nothing was answered; a closed loop would have counted one for each caller.
  expect(load.done).toBeGreaterThan(100);
  expect(load.latency.p50Ms).toBeGreaterThan(20);
  expect(load.latency.maxMs).toBeGreaterThan(400);
});

test("failures are counted by their codes, and not among the answers", async () => {
  const load = await runLoad({
    pace: { kind: "closed", callers: 1 },
    ...{ warmUpS: 0, durationS: 0.2 },
    work: async (number) => {
      await sleep(2);
      if (number % 2 === 0) throw refusal("BUSY");
      if (number % 5 === 0) throw new TypeError("no code");
    },
  });
  expect(Object.keys(load.failed).sort()).toEqual(["BUSY", "TypeError"]);
  expect(load.latency.count).toBe(load.done);
});

test("what is asked while warming up is not counted", async () => {
  const load = await runLoad({
    pace: { kind: "closed", callers: 1 },
    ...{ warmUpS: 0.3, durationS: 0.1 },
    work: async (number) => {
      await sleep(5);
      // Only at the very beginning: within the warm-up.
      if (number < 3) throw refusal("COLD");
    },
  });
  expect(load.failed).toEqual({});
});

test("a signal ends it with its reason", async () => {
  const stopping = new AbortController();
  setTimeout(() => stopping.abort(new Error("enough")), 50);
  const load = runLoad({
    ...{ pace: { kind: "closed", callers: 2 }, warmUpS: 0, durationS: 30, signal: stopping.signal },
    work: () => sleep(5),
  });
  await expect(load).rejects.toThrow("enough");
});

test("arrivals are as many as asked for, and as irregular as a crowd", () => {
  let seed = 1;
  const random = () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
  const gaps: number[] = [];
  let before = 0;
  for (const atMs of arrivals(100, random)) {
    if (atMs > 100_000) break;
    gaps.push(atMs - before);
    before = atMs;
  }
  expect(gaps.length).toBeGreaterThan(9_600);
  expect(gaps.length).toBeLessThan(10_400);
  // Of a Poisson process, a share of 1/e is longer than the mean.
  const long = gaps.filter((gap) => gap > 10).length / gaps.length;
  expect(long).toBeGreaterThan(0.34);
  expect(long).toBeLessThan(0.4);
});

test("latencies are what was recorded, within a thousandth", () => {
  const latencies = new Latencies();
  for (let ms = 1; ms <= 1_000; ms += 1) latencies.record(ms);
  const { count, meanMs, p50Ms, p90Ms, p99Ms, maxMs, bars } = latencies.summary();
  expect(count).toBe(1_000);
  for (const [got, expected] of [
    [meanMs, 500.5],
    [p50Ms, 500],
    [p90Ms, 900],
    [p99Ms, 990],
    [maxMs, 1_000],
  ] as const) {
    expect(Math.abs(got - expected) / expected).toBeLessThan(0.002);
  }
  expect(bars.reduce((sum, [, each]) => sum + each, 0)).toBe(1_000);
  expect(new Latencies().summary()).toMatchObject({ count: 0, p50Ms: 0, maxMs: 0, bars: [] });
});
