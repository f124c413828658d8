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

async function codeOfClaim(
  guard: ReplayGuard,
  asker: string,
  requestId: string,
  issuedAtMs: number,
): Promise<string | null> {
  try {
    await guard.claim(asker, requestId, issuedAtMs);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(RequestError);
    return (error as RequestError).code;
  }
}

describe("checkTime", () => {
  test("takes what is as old as the window, and refuses a millisecond more", async () => {
    const { guard } = guardAt(NOW);
    guard.checkTime(NOW);
    guard.checkTime(NOW - REQUEST_WINDOW_MS);
    expect(() => guard.checkTime(NOW - REQUEST_WINDOW_MS - 1)).toThrow(
      expect.objectContaining({ code: "REQUEST_STALE" }),
    );
    expect(() => guard.checkTime(0)).toThrow(expect.objectContaining({ code: "REQUEST_STALE" }));
  });

  test("refuses what was issued up to the boot, though within the window", async () => {
    const { guard } = guardAt(BOOTED_AT + 10);
    guard.checkTime(BOOTED_AT + 1);
    for (const issuedAtMs of [BOOTED_AT, BOOTED_AT - 1, BOOTED_AT - REQUEST_WINDOW_MS + 10]) {
      expect(() => guard.checkTime(issuedAtMs)).toThrow(
        expect.objectContaining({
          code: "REQUEST_STALE",
          message: expect.stringContaining("booted"),
        }),
      );
    }
  });

  test("takes a date ahead up to the limit, without waiting, and refuses a millisecond more", () => {
    const { guard, time } = guardAt(NOW);
    guard.checkTime(NOW + MAX_FUTURE_MS);
    for (const issuedAtMs of [NOW + MAX_FUTURE_MS + 1, Number.MAX_SAFE_INTEGER]) {
      expect(() => guard.checkTime(issuedAtMs)).toThrow(expect.objectContaining({ code: "REQUEST_FROM_FUTURE" }));
    }
    expect(time.slept).toEqual([]);
  });
});

describe("claim of a request that is dated ahead", () => {
  test("waits until its time has come, again if a timer comes early", async () => {
    const { guard, time } = guardAt(NOW);
    await guard.claim("alice", ID, NOW + 100);
    expect(time.slept).toEqual([100]);
    expect(time.nowMs).toBe(NOW + 100);

    let nowMs = NOW;
    const advance = async () => {
      nowMs += 40;
    };
    const early = new ReplayGuard({ nowMs: () => nowMs, sleep: advance }, BOOTED_AT);
    await early.claim("alice", ID, NOW + 100);
    expect(nowMs).toBe(NOW + 120);
  });

  test("says whether it waited", async () => {
    const { guard } = guardAt(NOW);
    expect(await guard.claim("alice", ID, NOW)).toBe(false);
    expect(await guard.claim("alice", ID, NOW + 1)).toBe(true);
  });

  test("keeps no more of them waiting than a few for each asker and some for all", async () => {
    let nowMs = NOW;
    const { promise, resolve } = Promise.withResolvers<void>();
    const guard = new ReplayGuard({ nowMs: () => nowMs, sleep: () => promise }, BOOTED_AT);
    const claims = Array.from({ length: 200 }, (_, at) => codeOfClaim(guard, `asker ${at % 50}`, `${at}`, NOW + 100));
    const ofOne = Array.from({ length: 20 }, (_, at) => codeOfClaim(guard, "asker 1", `more ${at}`, NOW + 100));
    nowMs = NOW + 100;
    resolve();
    expect((await Promise.all(claims)).filter((code) => code === null)).toHaveLength(32);
    expect(new Set(await Promise.all(ofOne))).toEqual(new Set(["BUSY"]));
    expect(await codeOfClaim(guard, "asker 1", "later", nowMs)).toBeNull();
  });

  test("counts once, whichever of two copies wakes first", async () => {
    const { guard } = guardAt(NOW);
    const codes = await Promise.all([
      codeOfClaim(guard, "alice", ID, NOW + 50),
      codeOfClaim(guard, "alice", ID, NOW + 50),
    ]);
    expect(codes.sort()).toEqual(["REQUEST_REPLAYED", null]);
  });
});

describe("claim", () => {
  test("takes a request once; again only by the same asker with a later date", async () => {
    const { guard } = guardAt(NOW);
    expect(await codeOfClaim(guard, "alice", ID, NOW - 10)).toBeNull();
    expect(await codeOfClaim(guard, "alice", ID, NOW - 10)).toBe("REQUEST_REPLAYED");
    expect(await codeOfClaim(guard, "alice", ID, NOW - 11)).toBe("REQUEST_REPLAYED");
    expect(await codeOfClaim(guard, "alice", ID, NOW - 9)).toBeNull();
    // The retry took its place: neither of the two can be shown again.
    expect(await codeOfClaim(guard, "alice", ID, NOW - 9)).toBe("REQUEST_REPLAYED");
    expect(await codeOfClaim(guard, "alice", ID, NOW - 10)).toBe("REQUEST_REPLAYED");
  });

  test("keeps one asker's ids from another's", async () => {
    const { guard } = guardAt(NOW);
    expect(await codeOfClaim(guard, "alice", ID, NOW)).toBeNull();
    expect(await codeOfClaim(guard, "bob", ID, NOW)).toBeNull();
    expect(await codeOfClaim(guard, "bob", ID, NOW)).toBe("REQUEST_REPLAYED");
  });

  test("remembers for as long as the request's age would let it pass, and no longer", async () => {
    const { guard, time } = guardAt(NOW, 1);
    expect(await codeOfClaim(guard, "alice", ID, NOW)).toBeNull();
    time.nowMs = NOW + REQUEST_WINDOW_MS;
    expect(await codeOfClaim(guard, "alice", ID, NOW)).toBe("REQUEST_REPLAYED");
    expect(await codeOfClaim(guard, "bob", ID, time.nowMs)).toBe("BUSY");
    time.nowMs += 1;
    expect(await codeOfClaim(guard, "bob", ID, time.nowMs)).toBeNull();
  });

  test("refuses a copy that was let in, held up until the first was forgotten, and let go", async () => {
    const { guard, time } = guardAt(NOW);
    const issuedAtMs = NOW - REQUEST_WINDOW_MS + 1_000;
    // Two copies pass by their time; the parent withholds what the second one needs next.
    guard.checkTime(issuedAtMs);
    guard.checkTime(issuedAtMs);
    expect(await codeOfClaim(guard, "alice", ID, issuedAtMs)).toBeNull();
    time.nowMs = NOW + 5_000;
    expect(await codeOfClaim(guard, "bob", ID, time.nowMs)).toBeNull();
    expect(await codeOfClaim(guard, "alice", ID, issuedAtMs)).toBe("REQUEST_STALE");
  });

  test("at its limit refuses rather than forgets, and goes on once the window has passed", async () => {
    const { guard, time } = guardAt(NOW, 3);
    for (const asker of ["a", "b", "c"]) expect(await codeOfClaim(guard, asker, ID, NOW)).toBeNull();
    expect(await codeOfClaim(guard, "d", ID, NOW)).toBe("BUSY");
    for (const asker of ["a", "b", "c"]) expect(await codeOfClaim(guard, asker, ID, NOW)).toBe("REQUEST_REPLAYED");
    time.nowMs += REQUEST_WINDOW_MS + 1;
    expect(await codeOfClaim(guard, "d", ID, time.nowMs)).toBeNull();
  });

  test("lets no single asker take more than half of the memory", async () => {
    const { guard } = guardAt(NOW, 4);
    expect(await codeOfClaim(guard, "greedy", "1", NOW)).toBeNull();
    expect(await codeOfClaim(guard, "greedy", "2", NOW)).toBeNull();
    expect(await codeOfClaim(guard, "greedy", "3", NOW)).toBe("BUSY");
    expect(await codeOfClaim(guard, "modest", "1", NOW)).toBeNull();
    // Refused for want of room, a retry would have to leave what it retries in its place.
    expect(await codeOfClaim(guard, "greedy", "1", NOW + 1)).toBeNull();
    expect(await codeOfClaim(guard, "greedy", "1", NOW)).toBe("REQUEST_REPLAYED");
  });

  test("an old date among newer ones is forgotten a little later, and refused all the same", async () => {
    const { guard, time } = guardAt(NOW, 2);
    expect(await codeOfClaim(guard, "new", ID, NOW)).toBeNull();
    expect(await codeOfClaim(guard, "old", ID, NOW - REQUEST_WINDOW_MS)).toBeNull();
    time.nowMs = NOW + 1;
    // It stands behind a newer one, so its place is not free yet; but nothing can use it.
    expect(await codeOfClaim(guard, "third", ID, NOW + 1)).toBe("BUSY");
    expect(await codeOfClaim(guard, "old", ID, NOW - REQUEST_WINDOW_MS)).toBe("REQUEST_STALE");
    time.nowMs = NOW + REQUEST_WINDOW_MS + 1;
    expect(await codeOfClaim(guard, "third", ID, time.nowMs)).toBeNull();
  });
});
