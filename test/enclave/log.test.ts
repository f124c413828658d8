import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLog, type LogFields } from "../../enclave/log.ts";

function logWith(nowMs: () => number | null = () => 7) {
  const lines: string[] = [];
  const log = createLog({ write: (line) => lines.push(line), nowMs });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? "null") as Record<string, unknown> };
}

test("a line is one object of JSON: level, time, event and the fields", () => {
  const { log, lines, last } = logWith(() => 1_790_000_000_000);
  log.info("request", { operation: "sign_message", status: 200, durationMs: 1.25 });
  expect(last()).toEqual({
    level: "info",
    atMs: 1_790_000_000_000,
    operation: "sign_message",
    status: 200,
    durationMs: 1.25,
    event: "request",
  });
  log.warn("start-waits", { code: "KMS_UNAVAILABLE", attempt: 3 });
  expect(last()).toMatchObject({ level: "warn", code: "KMS_UNAVAILABLE", attempt: 3 });
  log.error("phase", { phase: "failed", count: 0 });
  expect(last()).toMatchObject({ level: "error", phase: "failed", count: 0 });
  for (const line of lines) expect(line).not.toContain("\n");
});

test("the time is null before it is known", () => {
  const { log, last } = logWith(() => null);
  log.info("boot");
  expect(last()).toEqual({ level: "info", atMs: null, event: "boot" });
});

describe("what is not named never leaves", () => {
  const SECRET = "c0ffee-secret";

  test("a field outside the allow-list", () => {
    const { log, lines } = logWith();
    const fields = {
      code: "X",
      jwt: SECRET,
      params: { deep: SECRET },
      message: SECRET,
      err: new Error(SECRET),
      event: SECRET,
    };
    for (const level of ["info", "warn", "error"] as const) log[level]("request", fields as LogFields);
    expect(lines).toHaveLength(3);
    expect(lines.join()).not.toContain(SECRET);
    expect(lines.every((line) => line.includes('"event":"request"'))).toBe(true);
  });

  test("an allowed field that is no text and no number", () => {
    const { log, lines, last } = logWith();
    const values = [
      { SECRET },
      [SECRET],
      new Error(SECRET),
      Symbol(SECRET),
      () => SECRET,
      true,
      null,
      7n,
      new String(SECRET),
    ];
    for (const value of values) {
      log.info("request", { code: value } as unknown as LogFields);
      expect(last()).toEqual({ level: "info", atMs: 7, event: "request" });
    }
    expect(lines.join()).not.toContain(SECRET);
  });

  test("any object at all: only the seven names, only text of 64 and numbers", () => {
    const { log, last } = logWith();
    const names = ["operation", "code", "status", "phase", "durationMs", "attempt", "count"];
    const fields = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), fc.anything());
    fc.assert(
      fc.property(fields, (given) => {
        log.info("e", given as LogFields);
        const { level, atMs, event, ...left } = last();
        expect([level, atMs, event]).toEqual(["info", 7, "e"]);
        for (const [name, value] of Object.entries(left)) {
          expect(names).toContain(name);
          if (typeof value === "string") expect(value.length).toBeLessThanOrEqual(64);
          // JSON has no NaN and no infinity: they leave as null.
          else expect(value === null || typeof value === "number").toBe(true);
        }
      }),
    );
  });

  test("the part of a value over 64 characters", () => {
    const { log, last } = logWith();
    log.info("request", { code: "a".repeat(64) });
    expect(last()["code"]).toBe("a".repeat(64));
    log.info("request", { code: `${"a".repeat(64)}${SECRET}` });
    expect(last()["code"]).toBe("a".repeat(64));
  });
});
