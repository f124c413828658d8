import fc from "fast-check";
import { expect, test } from "vitest";
import { SortedNames } from "../../../enclave/vault/sorted-names.ts";

test("holds each name once, in order, whatever is added and deleted, in parts or in one", () => {
  const name = fc.nat(3_000).map((at) => `folder/${at}`);
  const steps = fc.array(fc.record({ isAdded: fc.nat(3).map((kind) => kind > 0), name }), {
    maxLength: 4_000,
    size: "max",
  });
  fc.assert(
    fc.property(steps, name, (asked, start) => {
      const names = new SortedNames();
      const model = new Set<string>();
      for (const each of asked) {
        if (each.isAdded) {
          names.add(each.name);
          model.add(each.name);
        } else {
          names.delete(each.name);
          model.delete(each.name);
        }
      }
      const sorted = [...model].sort();
      expect([...names.after(null)]).toEqual(sorted);
      expect([...names.after(start)]).toEqual(sorted.filter((one) => one > start));
      expect(names.isEmpty).toBe(sorted.length === 0);
    }),
    { numRuns: 30 },
  );
});

test.each(["ascending", "descending"])("keeps ten thousand names that come %s, and lets go of all", (order) => {
  const all = Array.from({ length: 10_000 }, (_, at) => String(at).padStart(5, "0"));
  const names = new SortedNames();
  for (const name of order === "ascending" ? all : all.toReversed()) names.add(name);
  expect([...names.after(null)]).toEqual(all);
  expect([...names.after("09997")]).toEqual(["09998", "09999"]);
  expect([...names.after("0")][0]).toBe("00000");
  expect([...names.after("1")]).toEqual([]);
  for (const name of all) names.delete(name);
  expect(names.isEmpty).toBe(true);
  names.add("again");
  expect([...names.after(null)]).toEqual(["again"]);
});
