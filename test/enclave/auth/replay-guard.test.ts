import { describe, expect, test } from "vitest";
import { ReplayGuard } from "../../../enclave/auth/replay-guard.ts";
import { MAX_FUTURE_MS, REQUEST_WINDOW_MS, RequestError } from "../../../protocol/index.ts";

const BOOTED_AT = 1_790_000_000_000;
/** Long enough after the boot for the window to lie behind it. */
const NOW = BOOTED_AT + 10 * REQUEST_WINDOW_MS;
const ID = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";

/** A guard whose clock moves only when it is told to, or when it sleeps. */
function guardAt(nowMs: number, maxRemembered?: number) {
  const time = { nowMs, slept: [] as number[] };
  const guard = new ReplayGuard(
    {
      nowMs: () => time.nowMs,
      sleep: async (ms) => {
        time.slept.push(ms);
        time.nowMs += ms;
      },
    },
    BOOTED_AT,
    maxRemembered,
  );
  return { guard, time };
}

function codeOfClaim(guard: ReplayGuard, asker: string, requestId: string, issuedAtMs: number): string | null {
  try {
    guard.claim(asker, requestId, issuedAtMs);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(RequestError);
    return (error as RequestError).code;
  }
}

describe("checkTime", () => {
  test("takes what is as old as the window, and refuses a millisecond more", async () => {
    const { guard } = guardAt(NOW);
    await guard.checkTime(NOW);
    await guard.checkTime(NOW - REQUEST_WINDOW_MS);
    await expect(guard.checkTime(NOW - REQUEST_WINDOW_MS - 1)).rejects.toMatchObject({ code: "REQUEST_STALE" });
    await expect(guard.checkTime(0)).rejects.toMatchObject({ code: "REQUEST_STALE" });
  });

  test("refuses what was issued up to the boot, though within the window", async () => {
    const { guard } = guardAt(BOOTED_AT + 10);
    await guard.checkTime(BOOTED_AT + 1);
    for (const issuedAtMs of [BOOTED_AT, BOOTED_AT - 1, BOOTED_AT - REQUEST_WINDOW_MS + 10]) {
      await expect(guard.checkTime(issuedAtMs)).rejects.toMatchObject({
        code: "REQUEST_STALE",
        message: expect.stringContaining("booted"),
      });
    }
  });

  test("waits for a date ahead until it has come, up to the limit, and refuses a millisecond more", async () => {
    const { guard, time } = guardAt(NOW);
    await guard.checkTime(NOW + 1);
    await guard.checkTime(time.nowMs + MAX_FUTURE_MS);
    expect(time.slept).toEqual([1, MAX_FUTURE_MS]);
    await expect(guard.checkTime(time.nowMs + MAX_FUTURE_MS + 1)).rejects.toMatchObject({
      code: "REQUEST_FROM_FUTURE",
    });
    await expect(guard.checkTime(Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({ code: "REQUEST_FROM_FUTURE" });
    expect(time.slept).toHaveLength(2);
  });

  test("does not resolve before the date has come", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const guard = new ReplayGuard({ nowMs: () => NOW, sleep: () => promise }, BOOTED_AT);
    let isDone = false;
    const checked = guard.checkTime(NOW + 100).then(() => {
      isDone = true;
    });
    await new Promise(setImmediate);
    expect(isDone).toBe(false);
    resolve();
    await checked;
    expect(isDone).toBe(true);
  });
});

describe("claim", () => {
  test("takes a request once; again only by the same asker with a later date", () => {
    const { guard } = guardAt(NOW);
    expect(codeOfClaim(guard, "alice", ID, NOW - 10)).toBeNull();
    expect(codeOfClaim(guard, "alice", ID, NOW - 10)).toBe("REQUEST_REPLAYED");
    expect(codeOfClaim(guard, "alice", ID, NOW - 11)).toBe("REQUEST_REPLAYED");
    expect(codeOfClaim(guard, "alice", ID, NOW - 9)).toBeNull();
    // The retry took its place: neither of the two can be shown again.
    expect(codeOfClaim(guard, "alice", ID, NOW - 9)).toBe("REQUEST_REPLAYED");
    expect(codeOfClaim(guard, "alice", ID, NOW - 10)).toBe("REQUEST_REPLAYED");
  });

  test("keeps one asker's ids from another's", () => {
    const { guard } = guardAt(NOW);
    expect(codeOfClaim(guard, "alice", ID, NOW)).toBeNull();
    expect(codeOfClaim(guard, "bob", ID, NOW)).toBeNull();
    expect(codeOfClaim(guard, "bob", ID, NOW)).toBe("REQUEST_REPLAYED");
  });

  test("remembers for as long as the request's age would let it pass, and no longer", () => {
    const { guard, time } = guardAt(NOW, 1);
    expect(codeOfClaim(guard, "alice", ID, NOW)).toBeNull();
    time.nowMs = NOW + REQUEST_WINDOW_MS;
    expect(codeOfClaim(guard, "alice", ID, NOW)).toBe("REQUEST_REPLAYED");
    expect(codeOfClaim(guard, "bob", ID, time.nowMs)).toBe("BUSY");
    time.nowMs += 1;
    expect(codeOfClaim(guard, "bob", ID, time.nowMs)).toBeNull();
  });

  test("refuses a copy that was let in, held up until the first was forgotten, and let go", async () => {
    const { guard, time } = guardAt(NOW);
    const issuedAtMs = NOW - REQUEST_WINDOW_MS + 1_000;
    // Two copies pass by their time; the parent withholds what the second one needs next.
    await guard.checkTime(issuedAtMs);
    await guard.checkTime(issuedAtMs);
    expect(codeOfClaim(guard, "alice", ID, issuedAtMs)).toBeNull();
    time.nowMs = NOW + 5_000;
    expect(codeOfClaim(guard, "bob", ID, time.nowMs)).toBeNull();
    expect(codeOfClaim(guard, "alice", ID, issuedAtMs)).toBe("REQUEST_STALE");
  });

  test("at its limit refuses rather than forgets, and goes on once the window has passed", () => {
    const { guard, time } = guardAt(NOW, 3);
    for (const asker of ["a", "b", "c"]) expect(codeOfClaim(guard, asker, ID, NOW)).toBeNull();
    expect(codeOfClaim(guard, "d", ID, NOW)).toBe("BUSY");
    for (const asker of ["a", "b", "c"]) expect(codeOfClaim(guard, asker, ID, NOW)).toBe("REQUEST_REPLAYED");
    time.nowMs += REQUEST_WINDOW_MS + 1;
    expect(codeOfClaim(guard, "d", ID, time.nowMs)).toBeNull();
  });

  test("an old date among newer ones is forgotten a little later, and refused all the same", () => {
    const { guard, time } = guardAt(NOW, 2);
    expect(codeOfClaim(guard, "new", ID, NOW)).toBeNull();
    expect(codeOfClaim(guard, "old", ID, NOW - REQUEST_WINDOW_MS)).toBeNull();
    time.nowMs = NOW + 1;
    // It stands behind a newer one, so its place is not free yet; but nothing can use it.
    expect(codeOfClaim(guard, "third", ID, NOW + 1)).toBe("BUSY");
    expect(codeOfClaim(guard, "old", ID, NOW - REQUEST_WINDOW_MS)).toBe("REQUEST_REPLAYED");
    time.nowMs = NOW + REQUEST_WINDOW_MS + 1;
    expect(codeOfClaim(guard, "third", ID, time.nowMs)).toBeNull();
  });
});
