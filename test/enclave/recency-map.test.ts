import fc from "fast-check";
import { expect, test } from "vitest";
import { RecencyMap } from "../../enclave/recency-map.ts";

test("drops what was not used for longest, and counts setting and using as use, looking not", () => {
  const map = new RecencyMap<string, number>(3);
  for (const [at, key] of ["a", "b", "c"].entries()) map.set(key, at);
  expect(map.get("a")).toBe(0);
  expect(map.use("b")).toBe(1);
  map.set("c", 9);
  map.set("d", 4);
  expect([...map]).toEqual([
    ["b", 1],
    ["c", 9],
    ["d", 4],
  ]);
  expect(map.oldest()).toEqual(["b", 1]);
  expect(map.use("a")).toBeUndefined();
});

test("the entry at hand may be deleted while all are looked through", () => {
  const map = new RecencyMap<number, string>();
  for (let key = 0; key < 10; key += 1) map.set(key, `${key}`);
  const seen: number[] = [];
  for (const [key] of map) {
    seen.push(key);
    if (key % 2 === 0) map.delete(key);
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect([...map].map(([key]) => key)).toEqual([1, 3, 5, 7, 9]);
});

test("whatever is done to it, it holds what a Map in which keys are set anew would hold, in that order", () => {
  const key = fc.nat(12);
  const step = fc.oneof(
    fc.record({ kind: fc.constantFrom("set" as const), key, value: fc.nat() }),
    fc.record({ kind: fc.constantFrom("use" as const, "delete" as const, "get" as const), key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 10 }), (steps, max) => {
      const map = new RecencyMap<number, number>(max);
      const model = new Map<number, number>();
      for (const each of steps) {
        const before = model.get(each.key);
        if (each.kind === "get") expect(map.get(each.key)).toBe(before);
        if (each.kind === "use") expect(map.use(each.key)).toBe(before);
        if (each.kind === "delete") expect(map.delete(each.key)).toBe(model.delete(each.key));
        if (each.kind === "use" && before !== undefined) renew(model, each.key, before);
        if (each.kind === "set") {
          map.set(each.key, each.value);
          renew(model, each.key, each.value);
        }
        const [oldest] = model.keys();
        if (model.size > max && oldest !== undefined) model.delete(oldest);
        expect([...map]).toEqual([...model]);
        expect(map.size).toBe(model.size);
        expect(map.oldest()).toEqual([...model][0]);
        expect(map.has(each.key)).toBe(model.has(each.key));
      }
    }),
  );
});

function renew(model: Map<number, number>, key: number, value: number): void {
  model.delete(key);
  model.set(key, value);
}
