/** The soak of `make soak-http`, short: the same callers and the same rule. And that a parent which leaks does not pass. */
import { expect, test } from "vitest";
import { leftOpen } from "../../scripts/soak/http/judge.ts";
import { isForLater } from "../../scripts/soak/http/outcomes.ts";
import { type AtRest, runHttpSoak } from "../../scripts/soak/http/run.ts";
import { SHORT } from "../../scripts/soak/http/sizes.ts";

const timeout = 600_000;

test("parent, enclave and client are flat over HTTP, and what rude callers open is closed again", {
  timeout,
}, async () => {
  const { problems, flatness, outcomes, atRest } = await runHttpSoak(SHORT);
  expect(problems, JSON.stringify({ flatness, atRest })).toEqual([]);
  // A run in which all were refused, or none, would show little.
  for (const outcome of [
    ...["sign: done", "signBatch: done", "signMessage: done", "list: done", "createWallet: done", "logIn: done"],
    ...["replay: REQUEST_REPLAYED", "outOfTime: REQUEST_STALE", "malformed: MALFORMED_JSON"],
    ...["badStamp: STAMP_INVALID", "stranger: SESSION_UNKNOWN", "noStamp: STAMP_MISSING"],
    ...["tooLarge: PARENT_BODY_TOO_LARGE", "garbage: PARENT_INVALID_REQUEST", "unknownPath: PARENT_NOT_FOUND"],
    ...["crowd: done", "crowd: PARENT_OVER_SHARE", "neverReads: cut", "sendsInPieces: done"],
    ...["goesAway: gone", "sendsHalf: gone", "isSilent: gone", "library: done", "attestation: done"],
  ]) {
    expect(outcomes[outcome] ?? 0, outcome).toBeGreaterThan(0);
  }
});

test("a parent that kept its responses, files and timers would not pass", { timeout }, async () => {
  const none = { times: 0, callers: 0 };
  const leaky = new URL("../support/leaky-parent.ts", import.meta.url);
  const { problems } = await runHttpSoak({
    ...{ ...SHORT, requests: 1_500, creations: 15, crowds: 0, neverReading: none, restLooks: 4 },
    preload: [leaky],
  });
  expect(problems).toContain("parent: what is held after collection grows");
  for (const kind of ["objects: responses", "objects: requests", "objects: timers", "file descriptors on /dev/null"]) {
    expect(problems.find((problem) => problem.includes(kind))).toMatch(
      /^parent: [0-9]+ .*, [0-9]+ before anybody came$/,
    );
  }
  expect(problems.filter((problem) => problem.startsWith("enclave"))).toEqual([]);
});

test("left open is whatever there is more of than before, and nothing that has become less", () => {
  const rest = (sockets: number, pipes: number): AtRest => {
    const memory = { heapUsed: 0, external: 0, arrayBuffers: 0, rss: 0, cpuUs: 0 };
    const enclave = { ...memory, resources: {}, objects: {}, descriptors: null };
    return {
      parent: { ...memory, resources: { PipeWrap: pipes }, objects: { sockets }, descriptors: { socket: sockets } },
      enclave,
    };
  };
  expect(leftOpen(rest(3, 4), rest(3, 4))).toEqual([]);
  expect(leftOpen(rest(3, 4), rest(2, 3))).toEqual([]);
  expect(leftOpen(rest(3, 4), rest(4, 4))).toEqual([
    "parent: 4 objects: sockets, 3 before anybody came",
    "parent: 4 file descriptors on socket, 3 before anybody came",
  ]);
});

test("what belongs to a load is told from what is wrong", () => {
  for (const code of [
    "BUSY",
    "PARENT_OVER_SHARE",
    "PARENT_BUSY",
    "PARENT_TIMEOUT",
    "RECORDS_UNAVAILABLE",
    "ECONNRESET",
  ]) {
    expect(isForLater(code), code).toBe(true);
  }
  expect(isForLater("LATE_STAMP_INVALID")).toBe(true);
  for (const code of ["done", "ECONNREFUSED", "STAMP_INVALID", "INTERNAL", "SESSION_UNKNOWN", "REQUEST_REPLAYED", ""]) {
    expect(isForLater(code), code).toBe(false);
  }
});
