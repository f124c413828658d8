/** Fairness by counting: what is served between two moments, never how long that took. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FairQueue, type GroupLimits } from "../../../enclave/admission/fair-queue.ts";

type Name = "a" | "b";

const limits = (changed: Partial<GroupLimits> = {}): GroupLimits => ({
  ...{ weight: 1, maxWaiting: 1_000, maxWaitingBytes: 1_000_000, maxRunning: 1_000, maxRunningPerLane: 1_000 },
  ...changed,
});

function queueOf(options: { maxRunning?: number; a?: Partial<GroupLimits>; b?: Partial<GroupLimits> } = {}) {
  const { maxRunning = 1_000, a, b } = options;
  return new FairQueue<Name, string>({ maxRunning, groups: { a: limits(a), b: limits(b) } });
}

const at = (lane: string, group: Name = "a", cost = 1, bytes = 1) => ({ group, lane, cost, bytes });

function takeAll(queue: FairQueue<Name, string>, most = Number.POSITIVE_INFINITY): string[] {
  const taken: string[] = [];
  while (taken.length < most) {
    const item = queue.take();
    if (item === undefined) break;
    taken.push(item);
  }
  return taken;
}

test("one lane is served in the order of its arrival", () => {
  const queue = queueOf();
  for (const item of ["1", "2", "3"]) expect(queue.offer(item, at("x"), 0)).toBe(true);
  expect(takeAll(queue)).toEqual(["1", "2", "3"]);
  expect([queue.waiting, queue.running]).toEqual([0, 3]);
});

test("a lane that comes late waits for one of each other lane, however much waits there", () => {
  const queue = queueOf();
  for (let n = 0; n < 400; n += 1) queue.offer("noisy", at("noisy"), 0);
  takeAll(queue, 100);
  for (let round = 0; round < 20; round += 1) {
    queue.offer("quiet", at("quiet"), 0);
    expect(takeAll(queue, 2)).toContain("quiet");
  }
});

test("who sends great requests waits for what the others were not served, also one at a time", () => {
  const queue = queueOf();
  for (let n = 0; n < 100; n += 1) queue.offer("small", at("small"), 0);
  queue.offer("great", at("great", "a", 20), 0);
  expect(takeAll(queue, 2)).toContain("great");
  // Its lane is empty, and what it owes is not forgotten.
  queue.offer("great", at("great", "a", 20), 0);
  expect(takeAll(queue, 18)).not.toContain("great");
  expect(takeAll(queue, 3)).toContain("great");
});

test("idleness earns nothing", () => {
  const queue = queueOf();
  for (let n = 0; n < 60; n += 1) queue.offer("busy", at("busy"), 0);
  takeAll(queue, 30);
  for (let n = 0; n < 30; n += 1) queue.offer("late", at("late"), 0);
  const taken = takeAll(queue, 20);
  expect(taken.filter((item) => item === "late")).toHaveLength(10);
});

test("groups are served by their weights, whatever lanes they have", () => {
  const queue = queueOf({ a: { weight: 3 } });
  for (let n = 0; n < 400; n += 1) queue.offer("a", at("one"), 0);
  for (let n = 0; n < 400; n += 1) queue.offer("b", at(`lane${n}`, "b"), 0);
  const taken = takeAll(queue, 400);
  expect(taken.filter((item) => item === "a")).toHaveLength(300);
});

test("a lane takes half of the room at most, and who comes next finds some", () => {
  const queue = queueOf({ a: { maxWaiting: 8 } });
  const fill = (lane: string) => {
    let count = 0;
    while (queue.offer(lane, at(lane), 0)) count += 1;
    return count;
  };
  expect([fill("x"), fill("y"), fill("z")]).toEqual([4, 2, 1]);
  expect(queue.offer("full", at("w"), 0)).toBe(true);
  expect(queue.offer("full", at("v"), 0)).toBe(false);
  expect(queue.offer("another group", at("x", "b"), 0)).toBe(true);
});

test("bytes that wait are bounded as well", () => {
  const queue = queueOf({ a: { maxWaitingBytes: 100 } });
  expect(queue.offer("1", at("x", "a", 1, 50), 0)).toBe(true);
  expect(queue.offer("2", at("x", "a", 1, 1), 0)).toBe(false);
  expect(queue.offer("3", at("y", "a", 1, 50), 0)).toBe(true);
  expect(queue.offer("4", at("z", "a", 1, 1), 0)).toBe(false);
  expect(takeAll(queue)).toHaveLength(2);
  expect(queue.offer("5", at("z", "a", 1, 100), 0)).toBe(true);
});

test("no more run than may: in all, of a group, of a lane; one that has extra room still runs", () => {
  const queue = queueOf({ maxRunning: 4, a: { maxRunning: 3, maxRunningPerLane: 2 }, b: { extraRunning: 1 } });
  for (const item of ["x1", "x2", "x3"]) queue.offer(item, at("x"), 0);
  for (const item of ["y1", "y2", "y3"]) queue.offer(item, at("y"), 0);
  expect(takeAll(queue).toSorted()).toEqual(["x1", "x2", "y1"]);
  for (const item of ["b1", "b2", "b3"]) queue.offer(item, at("z", "b"), 0);
  expect(takeAll(queue)).toEqual(["b1", "b2"]);
  queue.finish(at("x"));
  expect(takeAll(queue)).toEqual(["b3"]);
  queue.finish(at("z", "b"));
  expect(takeAll(queue)).toEqual([]);
  queue.finish(at("z", "b"));
  expect(takeAll(queue)).toEqual(["y2"]);
  expect(() => queue.finish(at("nobody"))).toThrow(RangeError);
});

test("what has waited too long is taken out, from every lane, and leaves its room", () => {
  const queue = queueOf({ a: { maxWaiting: 8 } });
  queue.offer("old", at("x"), 100);
  queue.offer("new", at("x"), 200);
  queue.offer("old too", at("y", "b"), 150);
  expect(queue.takeExpired(151).toSorted()).toEqual(["old", "old too"]);
  expect(queue.waiting).toBe(1);
  expect(takeAll(queue)).toEqual(["new"]);
});

test("names that are made up do not stay", () => {
  const queue = queueOf();
  for (let n = 0; n < 100_000; n += 1) {
    queue.offer("x", at(`made-up-${n}`), 0);
    queue.take();
    queue.finish(at(`made-up-${n}`));
  }
  expect(queue.lanes).toBeLessThanOrEqual(2_048);
});

const arrival = fc.record({ lane: fc.constantFrom("p", "q", "r"), cost: fc.integer({ min: 1, max: 16 }) });

test("whatever comes, lanes that both wait are served alike, but for a request of each", () => {
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 30, maxLength: 120 }), (arrivals) => {
      const queue = new FairQueue<Name, { lane: string; cost: number }>({
        maxRunning: 1_000,
        groups: { a: limits(), b: limits() },
      });
      for (const each of arrivals) queue.offer(each, at(each.lane, "a", each.cost), 0);
      const left = new Map<string, number>();
      for (const { lane } of arrivals) left.set(lane, (left.get(lane) ?? 0) + 1);
      const served = new Map([...left.keys()].map((lane) => [lane, 0]));
      while ([...left.values()].every((count) => count > 0)) {
        const item = queue.take();
        if (item === undefined) throw new Error("nothing taken while all lanes wait");
        left.set(item.lane, (left.get(item.lane) ?? 0) - 1);
        served.set(item.lane, (served.get(item.lane) ?? 0) + item.cost);
        const sums = [...served.values()];
        expect(Math.max(...sums) - Math.min(...sums)).toBeLessThanOrEqual(16);
      }
    }),
  );
});

test("whatever comes, everything let in is taken once or expires once, and counts come back to nothing", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("offer" as const),
      lane: fc.constantFrom("p", "q"),
      group: fc.constantFrom("a", "b"),
    }),
    fc.constant({ kind: "take" as const }),
    fc.constant({ kind: "finish" as const }),
    fc.constant({ kind: "expire" as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const groups = { a: limits({ maxWaiting: 6, maxRunningPerLane: 1 }), b: limits({ weight: 2, maxWaiting: 6 }) };
      const queue = new FairQueue<Name, { readonly place: ReturnType<typeof at> }>({ maxRunning: 3, groups });
      const inside = new Set<object>();
      const running: ReturnType<typeof at>[] = [];
      let now = 0;
      const out = (item: object) => expect(inside.delete(item)).toBe(true);
      for (const each of steps) {
        now += 1;
        if (each.kind === "offer") {
          const item = { place: at(each.lane, each.group as Name) };
          if (queue.offer(item, item.place, now)) inside.add(item);
        } else if (each.kind === "take") {
          const item = queue.take();
          if (item === undefined) continue;
          out(item);
          running.push(item.place);
        } else if (each.kind === "finish") {
          const place = running.shift();
          if (place !== undefined) queue.finish(place);
        } else {
          for (const item of queue.takeExpired(now - 20)) out(item);
        }
        expect(queue.waiting).toBe(inside.size);
        expect(queue.running).toBe(running.length);
        expect(running.length).toBeLessThanOrEqual(3);
      }
      for (const item of queue.takeExpired(Number.POSITIVE_INFINITY)) out(item);
      expect([inside.size, queue.waiting]).toEqual([0, 0]);
    }),
  );
});
