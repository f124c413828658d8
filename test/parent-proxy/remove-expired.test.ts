import { expect, test } from "vitest";
import type { RecordStore } from "../../parent-proxy/index.ts";
import { removeExpiredFrom } from "../../parent-proxy/records/remove-expired.ts";
import { recordedLog, until } from "./fixture.ts";

const MARGIN_MS = 10 * 60_000;

function storeOf(removeExpired: RecordStore["removeExpired"]): RecordStore {
  const none = () => Promise.reject(new Error("not asked for"));
  return { get: none, write: none, list: none, close: none, removeExpired };
}

test("goes on while there is more, ten minutes behind the clock, and stops when it is told", async () => {
  const left = [1_000, 1_000, 3];
  const asked: number[] = [];
  const store = storeOf(async (beforeMs) => {
    asked.push(beforeMs);
    return left.shift() ?? 0;
  });
  const stop = removeExpiredFrom(store, recordedLog().log, { nowMs: () => MARGIN_MS + 5, intervalMs: 5 });
  await until(() => asked.length >= 4);
  await stop();
  const count = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(asked).toHaveLength(count);
  expect(new Set(asked)).toEqual(new Set([5]));
});

test("a store that fails is asked again later", async () => {
  const { log, lines } = recordedLog();
  let asked = 0;
  const store = storeOf(async () => {
    asked += 1;
    if (asked === 1) throw new Error("away");
    return 0;
  });
  const stop = removeExpiredFrom(store, log, { intervalMs: 5 });
  await until(() => asked >= 2);
  await stop();
  expect(lines.filter(({ msg }) => msg === "expired records stay for now")).toHaveLength(1);
});
