import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { makeRecoveryCodes } from "../../../../enclave/auth/totp/recovery-codes.ts";
import {
  attempt,
  lockoutMs,
  type SecondFactor,
  secondFactorSchema,
} from "../../../../enclave/auth/totp/second-factor.ts";
import { hotp, stepAt } from "../../../../enclave/auth/totp/totp.ts";

const NOW = 1_790_000_000_000;
const secret = randomBytes(20);
const recovery = makeRecoveryCodes({ bytes: (length) => randomBytes(length) });
const FRESH: SecondFactor = {
  secret,
  confirmedAtMs: NOW - 1000,
  lastStep: null,
  failures: 0,
  lockedUntilMs: 0,
  recoveryCodes: [...recovery.digests],
  requiredFor: [],
};
const codeAt = (ms: number) => hotp(secret, stepAt(ms));
const wrongAt = (ms: number) => {
  const valid = [-1, 0, 1].map((offset) => hotp(secret, stepAt(ms) + offset));
  return ["000000", "000001", "000002", "000003"].find((code) => !valid.includes(code)) ?? "000004";
};

function failing(times: number, state = FRESH, nowMs = NOW): SecondFactor {
  let next = state;
  let at = nowMs;
  for (let count = 0; count < times; count += 1) {
    at = Math.max(at, next.lockedUntilMs);
    const made = attempt(next, wrongAt(at), at);
    if (made.kind !== "refused") throw new Error(`expected a refusal, got ${made.kind}`);
    next = made.next;
  }
  return next;
}

test("a code is accepted once, and its step never again", () => {
  const first = attempt(FRESH, codeAt(NOW), NOW);
  expect(first).toMatchObject({ kind: "accepted", by: "totp", next: { lastStep: stepAt(NOW), failures: 0 } });
  if (first.kind !== "accepted") return;
  expect(secondFactorSchema.safeParse(first.next).success).toBe(true);
  expect(attempt(first.next, codeAt(NOW), NOW).kind).toBe("refused");
  expect(attempt(first.next, codeAt(NOW), NOW + 30_000).kind).toBe("refused");
  // The step before was not used itself, and is still over.
  expect(attempt(first.next, codeAt(NOW - 30_000), NOW).kind).toBe("refused");
  expect(attempt(first.next, codeAt(NOW + 30_000), NOW + 30_000).kind).toBe("accepted");
});

describe("failures in a row", () => {
  test("are free up to four, and from the fifth on each costs twice the wait of the one before", () => {
    expect(failing(4).lockedUntilMs).toBe(0);
    expect(failing(5).lockedUntilMs).toBe(NOW + 30_000);
    expect([4, 5, 6, 7, 8].map(lockoutMs)).toEqual([0, 30_000, 60_000, 120_000, 240_000]);
    expect(lockoutMs(40)).toBe(24 * 3600 * 1000);
    expect(lockoutMs(1_000_000)).toBe(24 * 3600 * 1000);
  });

  test("lock out even the right code, which is not used up by it", () => {
    const locked = failing(5);
    expect(attempt(locked, codeAt(NOW), NOW)).toEqual({ kind: "locked", untilMs: NOW + 30_000 });
    expect(attempt(locked, codeAt(NOW + 29_999), NOW + 29_999).kind).toBe("locked");
    expect(attempt(locked, codeAt(NOW + 30_000), NOW + 30_000)).toMatchObject({
      kind: "accepted",
      next: { failures: 0, lockedUntilMs: 0 },
    });
  });

  test("are forgotten only when a code is accepted, not when a wait is over", () => {
    const six = failing(6);
    expect(six.failures).toBe(6);
    const at = six.lockedUntilMs;
    expect(attempt(six, wrongAt(at), at)).toMatchObject({ kind: "refused", next: { lockedUntilMs: at + 120_000 } });
  });
});

describe("recovery codes", () => {
  const [code = ""] = recovery.codes;

  test("are accepted once", () => {
    const first = attempt(FRESH, code, NOW);
    expect(first).toMatchObject({ kind: "accepted", by: "recovery-code" });
    if (first.kind !== "accepted") return;
    expect(first.next.recoveryCodes.length).toBe(9);
    expect(attempt(first.next, code, NOW).kind).toBe("refused");
    expect(attempt(first.next, recovery.codes[1] ?? "", NOW).kind).toBe("accepted");
  });

  test("are not held up by a lockout, and wrong or used ones neither begin nor lengthen one", () => {
    expect(attempt(failing(9), code, NOW).kind).toBe("accepted");
    for (const state of [FRESH, failing(4), failing(9)]) {
      expect(attempt(state, "AAAA-AAAA-AAAA-AAAA", NOW)).toEqual({ kind: "refused", next: state });
    }
  });
});
