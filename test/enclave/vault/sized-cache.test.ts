import { expect, test } from "vitest";
import { SizedCache } from "../../../enclave/vault/sized-cache.ts";

const sized = (sizeBytes: number) => ({ sizeBytes });

test("keeps what was used last, up to its bytes and no further", () => {
  const cache = new SizedCache<{ readonly sizeBytes: number }>(100);
  cache.set("a", sized(40));
  cache.set("b", sized(40));
  expect(cache.get("a")).toEqual(sized(40));
  cache.set("c", sized(40));
  expect(["a", "b", "c"].map((name) => cache.get(name)?.sizeBytes)).toEqual([40, undefined, 40]);
});

test("counts a value that takes another's place once, and none that was deleted", () => {
  const cache = new SizedCache<{ readonly sizeBytes: number }>(100);
  for (let round = 0; round < 10; round += 1) cache.set("a", sized(60));
  cache.set("b", sized(40));
  expect(cache.get("a")).toBeDefined();
  cache.delete("a");
  cache.delete("a");
  cache.set("c", sized(60));
  expect(["b", "c"].map((name) => cache.get(name)?.sizeBytes)).toEqual([40, 60]);
});

test("what is larger than all of it is not kept, and leaves it empty", () => {
  const cache = new SizedCache<{ readonly sizeBytes: number }>(100);
  cache.set("a", sized(101));
  expect(cache.get("a")).toBeUndefined();
  cache.set("b", sized(100));
  expect(cache.get("b")).toBeDefined();
});
