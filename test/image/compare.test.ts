/** `make reproduce` must be able to fail. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { compareTrees } from "../../scripts/image/compare.ts";

let a = "";
let b = "";
beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), "cl-compare-"));
  a = join(folder, "a");
  b = join(folder, "b");
  for (const tree of [a, b]) {
    await mkdir(join(tree, "deep"), { recursive: true });
    await writeFile(join(tree, "one"), "0123456789");
    await writeFile(join(tree, "deep/two"), "two");
  }
});
afterEach(() => rm(join(a, ".."), { recursive: true, force: true }));

test("the same bytes are no difference", () => {
  expect(compareTrees(a, b)).toEqual([]);
  expect(compareTrees(join(a, "one"), join(b, "one"))).toEqual([]);
});

test("one changed byte is found, and where", async () => {
  await writeFile(join(b, "one"), "0123x56789");
  expect(compareTrees(a, b)).toEqual([{ path: "one", how: "10 and 10 bytes, first different at 4" }]);
});

test("a shorter file is found", async () => {
  await writeFile(join(b, "deep/two"), "tw");
  expect(compareTrees(a, b)).toEqual([{ path: "deep/two", how: "3 and 2 bytes, first different at 2" }]);
});

test("a file that only one build made is found", async () => {
  await writeFile(join(a, "more"), "");
  expect(compareTrees(a, b)).toEqual([{ path: "more", how: `only one build made it: ${a}` }]);
});

test("two builds that made nothing are not the same", () => {
  expect(compareTrees(join(a, "none"), join(b, "none"))).toHaveLength(1);
});
