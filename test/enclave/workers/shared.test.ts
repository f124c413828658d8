/** What threads share: marks, the clock, and which of them serves a request. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashOf, Marks } from "../../../enclave/workers/marks.ts";
import { workerOf } from "../../../enclave/workers/route.ts";
import { FollowingClock, SharedClock } from "../../../enclave/workers/shared-clock.ts";
import { decodeRequest, encodeRequest, SIGNING_OPERATIONS } from "../../../protocol/index.ts";

describe("marks", () => {
  test("are others after a bump, for all who share them, and for that name", () => {
    const marks = new Marks();
    const others = new Marks(marks.buffer);
    const [before, elsewhere] = [others.of("user/a"), others.of("user/b")];
    marks.bump("user/a");
    expect(others.of("user/a")).not.toBe(before);
    expect(others.of("user/b")).toBe(elsewhere);
  });

  test("of names that differ in one character alone are spread", () => {
    const names = Array.from({ length: 1_000 }, (_, at) => `wallet/app_0/usr_0/wal_${at.toString(16)}`);
    expect(new Set(names.map((name) => hashOf(name) & 0xffff)).size).toBeGreaterThan(950);
  });
});

describe("the clock", () => {
  test("serves nothing before it was set", () => {
    expect(() => new FollowingClock(new SharedClock().buffer).nowMs()).toThrow("before it was set");
  });

  test("follows, and never goes back", () => {
    const shared = new SharedClock();
    const clock = new FollowingClock(shared.buffer);
    shared.set(1_800_000_000_000);
    const first = clock.nowMs();
    expect(Math.abs(first - 1_800_000_000_000)).toBeLessThan(5_000);
    expect(shared.lastMs).toBe(first);
    shared.set(1_700_000_000_000);
    expect(clock.nowMs()).toBe(first);
    shared.set(1_900_000_000_000);
    // Behind by what rounding takes, and not ahead.
    expect(clock.nowMs()).toBeGreaterThanOrEqual(1_900_000_000_000 - 1);
  });

  test("of one that is started anew begins with what its predecessor had read at the latest", () => {
    const shared = new SharedClock();
    shared.set(1_800_000_000_000);
    expect(shared.lastMs).toBe(0);
    const read = new FollowingClock(shared.buffer).nowMs();
    shared.set(1_700_000_000_000);
    expect(shared.lastMs).toBe(read);
  });
});

describe("which worker", () => {
  const requestId = "01890a5d-ac96-774b-bcce-b302099a8057";
  const bodyOf = (operation: string, more: object = {}) =>
    encodeRequest({ operation, audience: "d/a", requestId, issuedAtMs: 1, params: {}, ...more });

  test.each([...SIGNING_OPERATIONS, "sign_batch", "list_wallets"])("%s is a worker's", (operation) => {
    expect(workerOf(bodyOf(operation), 2)).toBe(hashOf(requestId) % 2);
    expect(workerOf(bodyOf(operation), 0)).toBeNull();
  });

  test.each([
    ...["register_session", "create_wallet", "create_wallets", "export_wallet", "revoke_session", "set_policy"],
    ...["rotate_vault", "create_app", "erase_user", "no_such_operation", "__proto__", "toString"],
  ])("%s is the main thread's", (operation) => {
    expect(workerOf(bodyOf(operation), 2)).toBeNull();
  });

  test("what brings a one-time password or a share is the main thread's: it counts wrong ones, and puts together", () => {
    expect(workerOf(bodyOf("sign_message", { secondFactor: "123456" }), 2)).toBeNull();
    expect(workerOf(bodyOf("sign_message", { share: "AAAA" }), 2)).toBeNull();
  });

  test("the same id is the same worker's, however its body is written", () => {
    const other = Buffer.from(`{ "params": {}, "requestId": "${requestId}", "operation": "sign_digest" }`);
    for (const count of [1, 2, 3, 16]) expect(workerOf(other, count)).toBe(workerOf(bodyOf("sign_message"), count));
  });

  describe("of a large one", () => {
    const large = { data: "00".repeat(8_000) };

    test("is the same by its first bytes alone", () => {
      for (const count of [1, 2, 3, 16]) {
        const body = bodyOf("sign_batch", { params: large });
        expect(workerOf(body, count)).toBe(hashOf(requestId) % count);
        expect(workerOf(body.subarray(0, -100), count)).toBe(hashOf(requestId) % count);
        expect(workerOf(bodyOf("create_wallets", { params: large }), count)).toBeNull();
      }
    });

    test("is the main thread's where it brings what that alone may remember, however that is spelt", () => {
      expect(workerOf(bodyOf("sign_batch", { params: large, secondFactor: "123456" }), 2)).toBeNull();
      expect(workerOf(bodyOf("sign_batch", { params: large, share: "AAAA" }), 2)).toBeNull();
      const body = Buffer.from(bodyOf("sign_batch", { params: large, secondFactor: "123456" })).toString("utf8");
      const escaped = body.replace("secondFactor", "second\\u0046actor");
      expect(decodeRequest(Buffer.from(escaped)).secondFactor).toBe("123456");
      expect(workerOf(Buffer.from(escaped), 2)).toBeNull();
    });

    test("is the main thread's where it begins otherwise", () => {
      const text = JSON.stringify({ params: large, requestId, operation: "sign_batch" });
      expect(workerOf(Buffer.from(text), 2)).toBeNull();
      expect(
        workerOf(Buffer.from(` ${JSON.stringify({ operation: "sign_batch", requestId, params: large })}`), 2),
      ).toBeNull();
    });
  });

  test("whatever bytes come, it is one of them or none", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => Buffer.from(text)),
      fc.record({ operation: fc.constant("sign_message"), requestId: fc.anything() }).map((each) => {
        try {
          return Buffer.from(JSON.stringify(each));
        } catch {
          return Buffer.from("{}");
        }
      }),
    );
    fc.assert(
      fc.property(bytes, fc.integer({ min: 1, max: 64 }), (body, count) => {
        const at = workerOf(body, count);
        expect(at === null || (at >= 0 && at < count && Number.isInteger(at))).toBe(true);
      }),
    );
  });
});
