import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const codesOf = (file: string): string[] =>
  [...readFileSync(file, "utf8").matchAll(/^ {2}\| "([A-Z0-9_]+)"/gm)].map(([, code = ""]) => code);

test("docs/eif-build.md lists every code of a build, and no other", () => {
  const page = readFileSync("docs/eif-build.md", "utf8");
  const rows = [...page.matchAll(/^\| (`[A-Z0-9_]+`(?:, `[A-Z0-9_]+`)*) \|/gm)].flatMap(([, codes = ""]) =>
    codes.split(", "),
  );
  const codes = [...codesOf("eif/image/errors.ts"), ...codesOf("eif/build-errors.ts")];
  expect(codes.length).toBeGreaterThan(40);
  expect(rows.map((code) => code.slice(1, -1)).sort()).toEqual(codes.sort());
});
