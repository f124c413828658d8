/** The package as npm would publish it, unpacked where a user's would be: not a checkout, and no TypeScript. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

let folder: string;
let files: string[];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  execFileSync(process.execPath, ["scripts/build.ts"]);
  const packed = execFileSync("npm", ["pack", "--json", "--loglevel=error", "--pack-destination", folder], {
    encoding: "utf8",
  });
  const [report] = Object.values(JSON.parse(packed) as Record<string, { filename: string; files: { path: string }[] }>);
  if (report === undefined) throw new Error("npm packed nothing");
  files = report.files.map(({ path }) => path);
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "cloister"), { recursive: true });
  execFileSync("tar", ["xzf", join(folder, report.filename), "-C", join(modules, "cloister"), "--strip-components=1"]);
  for (const name of readdirSync("node_modules")) symlinkSync(resolve("node_modules", name), join(modules, name));
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runUserScript(source: string): string {
  writeFileSync(join(folder, "user.mjs"), source);
  return execFileSync(process.execPath, ["user.mjs"], {
    cwd: folder,
    encoding: "utf8",
    timeout: 30_000,
    stdio: "pipe",
  });
}

test("holds what runs, and neither sources nor tests", () => {
  expect(files).toContain("bin/cloister.js");
  expect(files).toContain("dist/js/simulator/index.js");
  expect(files).toContain("dist/js/client/index.d.ts");
  expect(files.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))).toEqual([]);
  expect(files.filter((path) => path.startsWith("test/"))).toEqual([]);
});

test("gives a user's test a simulator for the length of a block", () => {
  const output = runUserScript(`
    import { startSimulator } from "cloister/simulator";
    let pids;
    {
      await using simulator = await startSimulator();
      await simulator.connect();
      pids = [simulator.enclavePid, simulator.parentPid];
      console.log((await (await fetch(simulator.url + "/readyz")).json()).enclave);
    }
    for (const pid of pids) try { process.kill(pid, 0); console.log("left running"); } catch {}
  `);
  expect(output).toBe("ready\n");
});

test("its command runs", () => {
  const output = execFileSync(process.execPath, ["node_modules/cloister/bin/cloister.js", "--version"], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(output).toMatch(/^[0-9]+\.[0-9]+\.[0-9]+\n$/);
});

test("what is not exported cannot be reached", () => {
  expect(() => runUserScript('import "cloister/enclave";')).toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/);
});
