import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TrustedClock } from "../../enclave/trusted-clock.ts";

const T = 1_790_000_000_000;

/** A monotonic clock that the test moves. */
function clockFrom(startMs: number) {
  const mono = { ms: startMs };
  const clock = new TrustedClock(() => mono.ms);
  /** The NSM answers after `takesMs` with this timestamp. */
  const ask = (timestampMs: number, takesMs: number) =>
    clock.setBy(async () => {
      mono.ms += takesMs;
      return { timestampMs };
    });
  return { clock, mono, ask };
}

describe("before the NSM was asked", () => {
  test("there is no time, and reading it throws", async () => {
    const { clock } = clockFrom(5);
    expect(clock.isSet).toBe(false);
    expect(() => clock.nowMs()).toThrow("before the NSM was asked");
    await expect(
      clock.setBy(async () => {
        throw new Error("no answer");
      }),
    ).rejects.toThrow("no answer");
    expect(clock.isSet).toBe(false);
    expect(() => clock.nowMs()).toThrow();
  });
});

describe("once it was", () => {
  test("the time is its timestamp, carried on by the monotonic clock, and the answer is passed on", async () => {
    const { clock, mono } = clockFrom(1_000.5);
    const answer = { timestampMs: T, document: "d" };
    expect(await clock.setBy(async () => answer)).toBe(answer);
    expect(clock.isSet).toBe(true);
    expect(clock.nowMs()).toBe(T);
    mono.ms += 12.9;
    expect(clock.nowMs()).toBe(T + 12);
  });

  test("a first answer that took time is taken to be as old as the whole call", async () => {
    const { clock, ask } = clockFrom(0);
    await ask(T, 40);
    // It may have been made up to 40 ms ago; what is later than the enclave's clock is only made to wait.
    expect(clock.nowMs()).toBe(T);
  });

  test("a later answer moves it only if it stands outside the call's interval, and to the nearer edge", async () => {
    const { clock, mono, ask } = clockFrom(0);
    await ask(T, 0);
    // True at some moment of 40 ms; the clock says T + 100 to T + 140 in them: within.
    mono.ms = 100;
    await ask(T + 120, 40);
    expect(clock.nowMs()).toBe(T + 140);
    // The clock is behind: its end of the call is before the timestamp.
    mono.ms = 200;
    await ask(T + 500, 40);
    expect(clock.nowMs()).toBe(T + 500);
    // The clock is ahead: its beginning of the call (at T + 760) is after the timestamp.
    mono.ms = 500;
    await ask(T + 700, 40);
    mono.ms += 100;
    expect(clock.nowMs()).toBe(T + 700 + 40 + 100);
  });

  test("a failed question changes nothing", async () => {
    const { clock, mono, ask } = clockFrom(0);
    await ask(T, 0);
    mono.ms = 10;
    await expect(clock.setBy(() => Promise.reject(new Error("lost")))).rejects.toThrow("lost");
    expect(clock.nowMs()).toBe(T + 10);
  });
});

test("it never runs backwards, whatever the NSM says", async () => {
  const steps = fc.array(
    fc.record({
      waitMs: fc.nat(10_000),
      takesMs: fc.nat(1_000),
      timestampMs: fc.integer({ min: T - 10_000, max: T + 10_000 }),
    }),
    { minLength: 1, maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (asked) => {
      const { clock, mono, ask } = clockFrom(0);
      let last = 0;
      for (const { waitMs, takesMs, timestampMs } of asked) {
        mono.ms += waitMs;
        await ask(timestampMs, takesMs);
        const now = clock.nowMs();
        expect(now).toBeGreaterThanOrEqual(last);
        last = now;
      }
    }),
  );
});

test("against an honest NSM it is never ahead of true time, nor further behind than the shortest call", async () => {
  const steps = fc.array(fc.record({ waitMs: fc.nat(10_000), takesMs: fc.nat(100), at: fc.nat(100) }), {
    minLength: 1,
    maxLength: 20,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (asked) => {
      const { clock, mono, ask } = clockFrom(0);
      let shortest = Number.POSITIVE_INFINITY;
      for (const { waitMs, takesMs, at } of asked) {
        mono.ms += waitMs;
        // True time is T + the monotonic clock; the document is made somewhere within the call.
        await ask(T + mono.ms + Math.min(at, takesMs), takesMs);
        shortest = Math.min(shortest, takesMs);
        const behindMs = T + mono.ms - clock.nowMs();
        expect(behindMs).toBeGreaterThanOrEqual(0);
        expect(behindMs).toBeLessThanOrEqual(shortest);
      }
    }),
  );
});
