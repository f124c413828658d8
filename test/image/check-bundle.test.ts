import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bundleEnclave } from "../../scripts/bundle.ts";
import { checkFile, checkTree } from "../../scripts/check-bundle.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cl-bundle-"));
  await bundleEnclave(join(folder, "good"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function findingsIn(source: string, name = "main.mjs"): Promise<string[]> {
  const path = join(folder, name);
  await writeFile(path, source);
  return checkFile(path).map(({ what }) => what);
}

describe("the bundle", () => {
  test("holds nothing that it must not hold", () => {
    expect(checkTree(join(folder, "good/main.mjs"))).toEqual([]);
  });

  test("is the same each time", async () => {
    await bundleEnclave(join(folder, "again"));
    for (const name of ["main.mjs", "main.mjs.map", "bundle.json", "NOTICES.txt"]) {
      expect(await readFile(join(folder, "again", name))).toEqual(await readFile(join(folder, "good", name)));
    }
  });

  test("is ASCII, and has the control characters that strings have: the YAML parser's tokens", async () => {
    const text = await readFile(join(folder, "good/main.mjs"), "latin1");
    expect([...text].some((character) => character > "\x7f")).toBe(false);
    for (const token of ["\x02", "\x18", "\x1f"]) expect(text).toContain(token);
  });

  test("is refused when it would hold the simulator", async () => {
    const entry = join(import.meta.dirname, "../../simulator/enclave-process.ts");
    await expect(bundleEnclave(join(folder, "poisoned"), { entry })).rejects.toThrow("simulator/");
  });

  test("names the packages that went in, with their sizes and licences", async () => {
    const parts = JSON.parse(await readFile(join(folder, "good/bundle.json"), "utf8")) as { name: string }[];
    const names = parts.map(({ name }) => name);
    expect(names).toContain("node_modules/@aws-sdk/client-kms");
    expect(names).toContain("enclave");
    expect(names.filter((name) => /simulator|parent-proxy|fastify|vitest|viem/.test(name))).toEqual([]);
    const notices = await readFile(join(folder, "good/NOTICES.txt"), "utf8");
    for (const name of names.filter((name) => name.startsWith("node_modules/")))
      expect(notices).toContain(`\n${name.replace(/^.*node_modules\//, "")} `);
  });
});

describe("a poisoned file is found", () => {
  test.each([
    ["the simulator's certificates and servers", 'const name = "SIMULATOR - NOT AWS";'],
    ["the simulator's measurements", '"SIMULATED IMAGE v24"'],
    ["the simulator", "// simulator/nsm/pki.ts\nlet a;"],
    ["the parent", "// parent-proxy/main.ts\nlet a;"],
    ["clients", "// client/connect.ts\nlet a;"],
    ["commands and scripts", "// cli/main.ts\nlet a;"],
    ["tests", "// test/support/app.ts\nlet a;"],
    ["test runners", "// node_modules/vitest/dist/index.js\nlet a;"],
    ["the parent's packages", "// node_modules/fastify/fastify.js\nlet a;"],
    ["addons compiled for tests", "CLOISTER_TEST"],
    ["sanitizers", "__asan_init"],
    ["eval", 'eval("1")'],
    ["eval", "(0,eval)('1'); eval ('2')"],
    ["functions made of strings", 'new Function("return 1")'],
    ["functions made of strings", 'const F = Function("return 1")'],
    ["other ways to make code", "vm.runInThisContext(code)"],
    ["a source map", "let a;\n//# sourceMappingURL=main.mjs.map"],
    ["folders of the building machine", 'require("/home/somebody/project/x.js")'],
    ["folders of the building machine", 'import "/src/node_modules/yaml/index.js"'],
  ])("%s", async (what, source) => {
    expect(await findingsIn(`${source}\n`)).toContain(what);
  });

  test("in a binary file too", async () => {
    expect(await findingsIn("\0\x7fELF\xffSIMULATOR - NOT AWS\0", "addon.node")).toEqual([
      "the simulator's certificates and servers",
    ]);
  });

  test("and what only looks like it is not", async () => {
    expect(await findingsIn("isAsyncFunction(a); retrieval(b); new FunctionCall(); o.eval(1);\n")).toEqual([]);
  });
});
