/**
 * The soak of `make soak`, short: the same requests and the same rule, with a minute's window every two thousand requests. And
 * that the rule notices what it is for.
 */
import { describe, expect, test } from "vitest";
import { censusOf } from "../../scripts/soak/census.ts";
import { flatnessOf, type Sample } from "../../scripts/soak/flat.ts";
import { runSoak } from "../../scripts/soak/run.ts";
import { SHORT } from "../../scripts/soak/sizes.ts";

const timeout = 240_000;
const MIB = 2 ** 20;

test("memory is flat over twenty thousand requests", { timeout }, async () => {
  const { problems, held, outcomes, collections } = await runSoak(SHORT);
  expect(problems, JSON.stringify(held)).toEqual([]);
  // A run in which all were refused, or none, would show little.
  for (const outcome of [
    ...[
      "sign: done",
      "signBatch: done",
      "signMessage: done",
      "createWallet: done",
      "createWallets: done",
      "list: done",
    ],
    ...["logIn: done", "logInAgain: done", "revoke: done", "sign: SESSION_UNKNOWN", "sign: SESSION_EXPIRED"],
    ...["replay: REQUEST_REPLAYED", "outOfTime: REQUEST_STALE", "outOfTime: REQUEST_FROM_FUTURE"],
    ...["malformed: MALFORMED_JSON", "badStamp: STAMP_INVALID", "stranger: SESSION_UNKNOWN"],
  ]) {
    expect(outcomes[outcome], outcome).toBeGreaterThan(0);
  }
  // What several windows of time have passed over was forgotten again.
  const remembered = Object.entries(collections).find(([name]) => name.endsWith("replays.#seen.#entries"))?.[1];
  expect(remembered?.end).toBeLessThan(SHORT.requests / 4);
});

test("an enclave that kept some bytes of each request would not pass", { timeout }, async () => {
  const kept: Uint8Array[] = [];
  const leak = () => void kept.push(new Uint8Array(300));
  const { problems } = await runSoak({ ...SHORT, requests: 10_000, samples: 20, afterEach: leak });
  expect(problems).toContain("what is held after collection grows");
  expect(kept.length).toBeGreaterThan(5_000);
});

describe("the rule", () => {
  const allowed = { share: 0.01, bytes: MIB };
  const run = (bytesAt: (requests: number, at: number) => number): Sample[] =>
    Array.from({ length: 50 }, (_, at) => ({ requests: (at + 1) * 1000, bytes: bytesAt((at + 1) * 1000, at) }));
  /** Up and down by turns. */
  const noise = (at: number, bytes: number) => (at % 2 === 0 ? bytes : -bytes);

  test("takes what only varies, and what fills within the first fifth", () => {
    expect(
      flatnessOf(
        run((_, at) => 100 * MIB + noise(at, MIB / 4)),
        allowed,
      ).isFlat,
    ).toBe(true);
    const filling = run((requests) => Math.min(requests, 10_000) * 10_000);
    expect(flatnessOf(filling, allowed)).toMatchObject({ isFlat: true, bytesPerRequest: 0, gainedBytes: 0 });
  });

  test("refuses what grows by little each time, on either side of what is allowed", () => {
    // 2 MiB over 40,000 requests, of 100 MiB: as much as is allowed.
    const perRequest = (2 * MIB) / 40_000;
    const grown = (factor: number) => run((requests) => 100 * MIB + (requests - 30_000) * perRequest * factor);
    expect(flatnessOf(grown(0.99), allowed).isFlat).toBe(true);
    expect(flatnessOf(grown(1.01), allowed).isFlat).toBe(false);
  });

  test("refuses what varies so much that nobody can tell", () => {
    expect(
      flatnessOf(
        run((_, at) => 100 * MIB + noise(at, 20 * MIB)),
        allowed,
      ).isFlat,
    ).toBe(false);
  });

  test("says nothing from a handful of samples", () => {
    expect(() => flatnessOf(run(() => MIB).slice(0, 8), allowed)).toThrow("samples");
  });
});

test("every map, set and list is counted, however private", () => {
  class Inner {
    readonly #list = [1, 2, 3];
    readonly #names = new Set(["a"]);
    get size(): number {
      return this.#list.length + this.#names.size;
    }
  }
  class Outer {
    readonly #map = new Map([[1, new Inner()]]);
    readonly #options = { services: { inner: new Inner(), also: new Map() } };
    get size(): number {
      return this.#map.size + this.#options.services.inner.size + this.#options.services.also.size;
    }
  }
  const outer = new Outer();
  expect(outer.size).toBe(5);
  expect(Object.fromEntries(censusOf(outer))).toEqual({ "#map": 1, also: 0, "inner.#list": 3, "inner.#names": 1 });
});
