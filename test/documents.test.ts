/** What the documents say of the code is so. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ERROR_CODES, OPERATIONS } from "../protocol/index.ts";

const protocolPage = readFileSync("docs/protocol.md", "utf8");

test("docs/protocol.md lists every error code, with its status, and no other", () => {
  const listed = [...protocolPage.matchAll(/^\| `([A-Z_0-9]+)` \| ([0-9]{3}) \| (yes|no) \|/gm)].map(
    ([, code, status, retry]) => [code, { status: Number(status), retry: retry === "yes" }],
  );
  expect(Object.fromEntries(listed)).toEqual(ERROR_CODES);
});

test("docs/protocol.md lists every operation", () => {
  for (const name of Object.keys(OPERATIONS)) expect(protocolPage).toContain(`| \`${name}\` |`);
});

test("docs/eif.md lists every error code of eif/errors.ts, and no other", () => {
  const [, union = ""] = /export type EifErrorCode =([^;]*);/.exec(readFileSync("eif/errors.ts", "utf8")) ?? [];
  const codes = [...union.matchAll(/"([A-Z0-9_]+)"/g)].map(([, code]) => code);
  const table = readFileSync("docs/eif.md", "utf8").split("## Error codes")[1] ?? "";
  const listed = [...table.matchAll(/^\| ((?:`[A-Z0-9_]+` ?)+)\|/gm)].flatMap(
    ([, cell = ""]) => cell.match(/[A-Z0-9_]+/g) ?? [],
  );
  expect(codes.length).toBeGreaterThan(40);
  expect(listed.sort()).toEqual(codes.sort());
});

describe("docs/threat-model.md", () => {
  const rows = [...readFileSync("docs/threat-model.md", "utf8").matchAll(/^\| [^|]+ \| [^|]+ \| (`[^|]+`) \|$/gm)];
  const named = rows.flatMap(([, tests = ""]) => tests.split("<br>").map((name) => name.slice(1, -1)));

  test("has rows, each with a test", () => {
    expect(rows.length).toBeGreaterThan(20);
    const withTests =
      readFileSync("docs/threat-model.md", "utf8").match(/^\|.*`[a-z-]+(?:\/[a-z-]+)+[`:].*\|$/gm) ?? [];
    expect(rows.map(([row]) => row)).toEqual(withTests);
  });

  test.each(named)("names a test that exists: %s", (name) => {
    const [file = "", ...title] = name.split(": ");
    const path = globSync([`test/${file}.test.ts`, `test/${dirname(file)}/**/${file.split("/").at(-1)}.test.ts`])[0];
    expect(path).toBeDefined();
    expect(readFileSync(path ?? "", "utf8")).toContain(title.join(": "));
  });
});

test("no page says a line twice, and no table has a row twice", () => {
  for (const page of ["README.md", "SECURITY.md", "CONTRIBUTING.md", ...globSync("docs/**/*.md")]) {
    const lines = readFileSync(page, "utf8").split("\n");
    // A table's head may come again with the next table.
    const said = lines.filter((line, at) => line.length > 45 && !(lines[at + 1] ?? "").startsWith("|--"));
    const rows = said.flatMap((line) => /^\| ([^|]+) \|/.exec(line)?.[1] ?? []);
    for (const each of [said, page.endsWith("threat-model.md") ? rows : []]) {
      expect(
        each.filter((line, at) => each.indexOf(line) !== at),
        page,
      ).toEqual([]);
    }
  }
});

test("links between documents lead somewhere", () => {
  for (const page of ["README.md", "SECURITY.md", "CONTRIBUTING.md", ...globSync("docs/**/*.md")]) {
    for (const [, target = ""] of readFileSync(page, "utf8").matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      expect(existsSync(join(dirname(page), target)), `${page} links to ${target}`).toBe(true);
    }
  }
});

test("every make target that a document or a script names is there", () => {
  const makefile = readFileSync("Makefile", "utf8");
  const files = ["README.md", "CONTRIBUTING.md", ...globSync("docs/**/*.md"), ...globSync("scripts/*.ts")];
  for (const file of files) {
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(/`make ([a-z-]+)/g)) {
      expect(makefile, `${file} names make ${target}`).toMatch(new RegExp(`^${target}:`, "m"));
    }
  }
});

test("make help explains every target", () => {
  const makefile = readFileSync("Makefile", "utf8");
  const phony = /^\.PHONY: (.+)$/m.exec(makefile)?.[1]?.split(" ") ?? [];
  for (const target of phony) expect(makefile).toMatch(new RegExp(`^${target}:.*## `, "m"));
});

test("make bench and make bench-growth write the page, and write nothing when they are quick", () => {
  const makefile = readFileSync("Makefile", "utf8");
  for (const [target, set] of [
    ["bench", "standard"],
    ["bench-growth", "growth"],
  ]) {
    const [, recipe = ""] = new RegExp(`^${target}: install .*\\n((?:\\t.*\\n)+)`, "m").exec(makefile) ?? [];
    expect(recipe).toContain(`--set ${set} $(if $(QUICK),--quick,--write)`);
  }
});
