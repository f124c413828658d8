import { createSecretKey, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { findRecoveryCode, isRecoveryCode, makeRecoveryCodes } from "../../../../enclave/auth/totp/recovery-codes.ts";
import { hotp, matchStep, otpauthUri, stepAt } from "../../../../enclave/auth/totp/totp.ts";

/** RFC 4226, appendix D, and RFC 6238, appendix B, for SHA-1. */
const RFC_SECRET = Buffer.from("12345678901234567890");

describe("codes", () => {
  test.each([
    [0, "755224"],
    [1, "287082"],
    [2, "359152"],
    [3, "969429"],
    [4, "338314"],
    [5, "254676"],
    [6, "287922"],
    [7, "162583"],
    [8, "399871"],
    [9, "520489"],
  ])("RFC 4226, appendix D: counter %i", (counter, code) => {
    expect(hotp(RFC_SECRET, counter)).toBe(code);
    expect(hotp(createSecretKey(RFC_SECRET), counter)).toBe(code);
  });

  test.each([
    [59, "94287082"],
    [1_111_111_109, "07081804"],
    [1_111_111_111, "14050471"],
    [1_234_567_890, "89005924"],
    [2_000_000_000, "69279037"],
    [20_000_000_000, "65353130"],
  ])("RFC 6238, appendix B: %i s", (seconds, code) => {
    expect(hotp(RFC_SECRET, stepAt(seconds * 1000), 8)).toBe(code);
  });
});

describe("the window", () => {
  const nowMs = 1_790_000_015_000;
  const now = stepAt(nowMs);
  const match = (step: number, lastStep: number | null = null) =>
    matchStep(RFC_SECRET, hotp(RFC_SECRET, step), { nowMs, lastStep });

  test("is one step before and one after, and no more", () => {
    expect(match(now)).toBe(now);
    expect(match(now - 1)).toBe(now - 1);
    expect(match(now + 1)).toBe(now + 1);
    expect(match(now - 2)).toBeNull();
    expect(match(now + 2)).toBeNull();
  });

  test("begins and ends with its step", () => {
    const code = hotp(RFC_SECRET, now);
    const at = (ms: number) => matchStep(RFC_SECRET, code, { nowMs: ms, lastStep: null });
    expect(at((now - 1) * 30_000)).toBe(now);
    expect(at((now - 1) * 30_000 - 1)).toBeNull();
    expect(at((now + 2) * 30_000 - 1)).toBe(now);
    expect(at((now + 2) * 30_000)).toBeNull();
  });

  test("leaves out the step that was used, and those before it", () => {
    expect(match(now, now)).toBeNull();
    expect(match(now - 1, now)).toBeNull();
    expect(match(now + 1, now)).toBe(now + 1);
    expect(match(now, now - 1)).toBe(now);
  });

  test.each(["", "12345", "1234567", "12345a", "１２３４５６", "-12345", " 12345"])("%j is no code", (code) => {
    expect(matchStep(RFC_SECRET, code, { nowMs, lastStep: null })).toBeNull();
  });

  test("the zeros that a malformed code is compared as match nothing", () => {
    const zeros = 349_495;
    expect(hotp(RFC_SECRET, zeros)).toBe("000000");
    const at = { nowMs: zeros * 30_000, lastStep: null };
    expect(matchStep(RFC_SECRET, "000000", at)).toBe(zeros);
    expect(matchStep(RFC_SECRET, "", at)).toBeNull();
  });

  test("works at the beginning of time", () => {
    expect(matchStep(RFC_SECRET, hotp(RFC_SECRET, 0), { nowMs: 0, lastStep: null })).toBe(0);
  });
});

test("the URI says what apps read, and nothing in a name breaks out of its place", () => {
  expect(otpauthUri(RFC_SECRET, { issuer: "Wallet & Co", account: "alice@example.com" })).toBe(
    "otpauth://totp/Wallet%20%26%20Co:alice%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" +
      "&issuer=Wallet%20%26%20Co&algorithm=SHA1&digits=6&period=30",
  );
  const uri = new URL(otpauthUri(RFC_SECRET, { issuer: "a?secret=AAAA#", account: "b:c/d&digits=8" }));
  expect(uri.searchParams.getAll("secret")).toEqual(["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]);
  expect(uri.searchParams.getAll("digits")).toEqual(["6"]);
});

describe("recovery codes", () => {
  const { codes, digests } = makeRecoveryCodes({ bytes: (length) => randomBytes(length) });

  test("are ten, of 80 bits, each found by its digest", () => {
    expect(new Set(codes).size).toBe(10);
    for (const [at, code] of codes.entries()) {
      expect(code).toMatch(/^(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);
      expect(findRecoveryCode(code, digests)).toBe(at);
      expect(findRecoveryCode(code.replaceAll("-", " ").toLowerCase(), digests)).toBe(at);
    }
  });

  test("that are not there are not found, and digits are no recovery code", () => {
    expect(findRecoveryCode("AAAA-AAAA-AAAA-AAAA", digests)).toBe(-1);
    expect(isRecoveryCode("123456")).toBe(false);
    expect(isRecoveryCode("AAAA-AAAA-AAAA-AAA0")).toBe(false);
    expect(findRecoveryCode(codes[0] ?? "", digests.slice(1))).toBe(-1);
  });

  test("are kept as digests that do not show them", () => {
    for (const digest of digests) expect(digest.length).toBe(32);
    expect(Buffer.concat([...digests]).toString("latin1")).not.toContain(codes[0]?.replaceAll("-", ""));
  });
});
