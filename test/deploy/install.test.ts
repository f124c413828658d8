/** deploy/install.sh into a folder, and systemd's own judgement of what it put there. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseEnclaveConfig } from "../../host/index.ts";
import { parseAllocator } from "../../host/nitro-cli/allocator.ts";
import { DEFAULT_LIMITS, parseConfig } from "../../parent-proxy/index.ts";

const ALLOCATOR = "etc/nitro_enclaves/allocator.yaml";
const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;

let folder: string;
let root: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  root = join(folder, "root");
  mkdirSync(root);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A release of hardly any code, with our deploy/. */
function release(version: string): string {
  const path = join(folder, version);
  mkdirSync(join(path, "bin"), { recursive: true });
  cpSync("deploy", join(path, "deploy"), { recursive: true });
  copyFileSync("/bin/true", join(path, "bin", "node"));
  chmodSync(join(path, "bin", "node"), 0o755);
  writeFileSync(join(path, "RELEASE"), `${version}\n`);
  return path;
}

function install(from: string, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(join(from, "deploy/install.sh"), args, {
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status, said: stdout, stderr };
}

/** Every file with its mode, size and date: a second run must not even touch them. */
function snapshot(): Record<string, string> {
  const files = globSync("**/*", { cwd: root, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { mode, size, mtimeMs } = statSync(path);
      return [path.slice(root.length + 1), `${mode.toString(8)} ${size} ${mtimeMs}`];
    }),
  );
}
const read = (path: string) => readFileSync(join(root, path), "utf8");

test("installs code, units and settings, and changes nothing a second time", () => {
  const from = release("1.0.0");
  expect(install(from, "--root", root)).toMatchObject({ status: 0 });
  const before = snapshot();
  expect(Object.keys(before)).toEqual(
    expect.arrayContaining([
      "opt/cloister/bin/node",
      "opt/cloister/deploy/bin/cloister-health",
      "etc/systemd/system/cloister-parent.service",
      "etc/systemd/system/cloister-enclave.service",
      "etc/systemd/system/cloister-health.timer",
      "etc/systemd/system/nitro-enclaves-allocator.service.d/cloister.conf",
      "etc/cloister/enclave.json",
      "etc/cloister/cloister.env",
      ALLOCATOR,
    ]),
  );
  expect((statSync(join(root, "etc/cloister/parent.json")).mode & 0o777).toString(8)).toBe("640");
  expect(install(from, "--root", root)).toMatchObject({ status: 0, said: "nothing to do\n" });
  expect(snapshot()).toEqual(before);
});

test("--dry-run says the same and does nothing", () => {
  const from = release("1.0.0");
  const dry = install(from, "--root", root, "--dry-run");
  expect(dry.status).toBe(0);
  expect(snapshot()).toEqual({});
  const written = (text: string) => text.split("\n").filter((line) => line.startsWith("write "));
  expect(written(install(from, "--root", root).said)).toEqual(written(dry.said));
});

test("the templates are what parent, nitro-cli and allocator take, and agree", () => {
  install(release("1.0.0"), "--root", root, "--memory-mib", "3072", "--cpu-count", "4");
  const enclave = parseEnclaveConfig(Buffer.from(read("etc/cloister/enclave.json")));
  expect(enclave).toMatchObject({ memoryMib: 3072, cpuCount: 4, enclaveCid: 16 });
  expect(parseConfig(Buffer.from(read("etc/cloister/parent.json"))).vsock).toEqual({
    kind: "af-vsock",
    enclaveCid: 16,
  });
  expect(parseAllocator(read(ALLOCATOR))).toEqual({ memoryMib: 3072, cpuCount: 4, cpuPool: null, problems: [] });
});

test("an upgrade replaces code and units, and leaves settings alone", () => {
  install(release("1.0.0"), "--root", root);
  writeFileSync(join(root, "etc/cloister/parent.json"), "mine");
  writeFileSync(join(root, "etc/cloister/enclave.json"), "mine too");
  writeFileSync(join(root, "opt/cloister/gone"), "not in the next");
  const next = release("1.0.1");
  writeFileSync(join(next, "deploy/systemd/cloister-health.timer"), "[Timer]\nOnBootSec=1min\n");
  expect(install(next, "--root", root).status).toBe(0);
  expect(read("opt/cloister/RELEASE")).toBe("1.0.1\n");
  expect(existsSync(join(root, "opt/cloister/gone"))).toBe(false);
  expect(read("etc/systemd/system/cloister-health.timer")).toContain("1min");
  expect(read("etc/cloister/parent.json")).toBe("mine");
  expect(read("etc/cloister/enclave.json")).toBe("mine too");
});

test("uninstalling leaves settings and records, and puts the allocator's file back", () => {
  mkdirSync(join(root, "etc/nitro_enclaves"), { recursive: true });
  const theirs = "---\nmemory_mib: 512\ncpu_count: 2\n";
  writeFileSync(join(root, ALLOCATOR), theirs);
  mkdirSync(join(root, "var/lib/cloister"), { recursive: true });
  writeFileSync(join(root, "var/lib/cloister/records.sqlite"), "every wallet");
  const from = release("1.0.0");
  install(from, "--root", root);
  install(from, "--root", root, "--memory-mib", "2048");
  expect(parseAllocator(read(ALLOCATOR)).memoryMib).toBe(2048);

  const dry = install(from, "--root", root, "--uninstall", "--dry-run");
  expect(dry.said).toContain(`remove ${root}/opt/cloister`);
  expect(existsSync(join(root, "opt/cloister"))).toBe(true);
  expect(install(from, "--root", root, "--uninstall").status).toBe(0);
  expect(read(ALLOCATOR)).toBe(theirs);
  const left = Object.keys(snapshot()).filter(
    (path) => !/^etc\/(passwd|group|g?shadow|\.pwd\.lock|subuid|subgid)/.test(path),
  );
  expect(left.sort()).toEqual([
    "etc/cloister/cloister.env",
    "etc/cloister/enclave.json",
    "etc/cloister/parent.json",
    ALLOCATOR,
    "var/lib/cloister/records.sqlite",
  ]);
  expect(globSync("etc/systemd/system/**/*.{service,timer}", { cwd: root })).toEqual([]);
  expect(install(from, "--root", root, "--uninstall").said).toBe("nothing to do\n");
});

test.each<[string, string[], number, string]>([
  ["a checkout in place of a release", [], 1, "is no release"],
  ["a number that is none", ["--settings-only", "--memory-mib", "2G"], 2, "expected a number, got 2G"],
  ["an option without its value", ["--memory-mib"], 2, "--memory-mib needs a value"],
  ["another option", ["--force"], 2, "there is no option --force"],
])("refuses %s", (_what, args, status, message) => {
  expect(install(".", "--root", root, ...args)).toMatchObject({ status, stderr: expect.stringContaining(message) });
  expect(snapshot()).toEqual({});
});

describe.skipIf(!hasSystemd)(hasSystemd ? "systemd" : "skipped: there is no systemd-analyze on this machine", () => {
  const UNITS = [
    "cloister-parent.service",
    "cloister-enclave.service",
    "cloister-health.service",
    "cloister-health.timer",
  ];

  beforeEach(() => {
    // What the units lean on: systemd's own targets, and a stand-in for the unit that AWS's package brings.
    const system = join(root, "usr/lib/systemd/system");
    mkdirSync(system, { recursive: true });
    for (const path of globSync("/usr/lib/systemd/system/*.target")) copyFileSync(path, join(system, basename(path)));
    writeFileSync(
      join(system, "nitro-enclaves-allocator.service"),
      "[Service]\nType=oneshot\nExecStart=/opt/cloister/bin/node\n",
    );
    install(release("1.0.0"), "--root", root);
  });

  const analyze = (...args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8", timeout: 20_000 });
    return { status, said: stdout + stderr };
  };
  const verify = () => analyze("verify", `--root=${root}`, "--man=no", ...UNITS);

  test("finds no fault in the units", () => {
    expect(verify()).toEqual({ status: 0, said: "" });
  });

  test("would find one", () => {
    const path = "etc/systemd/system/cloister-parent.service";
    writeFileSync(join(root, path), read(path).replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"));
    expect(verify().said).toMatch(/Unknown key.* 'NoNewPrivilege'/);
  });

  // systemd's scale: 0 is locked in, 10 open. 2.5 leaves room for what a later systemd adds to it.
  test.each(UNITS.filter((unit) => unit.endsWith(".service")))("calls %s well confined", (unit) => {
    expect(analyze("security", "--offline=yes", `--root=${root}`, "--threshold=25", unit)).toMatchObject({ status: 0 });
  });

  test("would call an open one so", () => {
    const path = "etc/systemd/system/cloister-parent.service";
    writeFileSync(join(root, path), "[Service]\nExecStart=/opt/cloister/bin/node\n");
    const { status } = analyze(
      "security",
      "--offline=yes",
      `--root=${root}`,
      "--threshold=25",
      "cloister-parent.service",
    );
    expect(status).not.toBe(0);
  });

  test("makes the users, of whom only the enclave's may start enclaves", () => {
    expect(read("etc/passwd")).toMatch(/^cloister:.*nologin$/m);
    expect(read("etc/group")).toMatch(/^ne:x:[0-9]+:cloister-enclave$/m);
  });
});

describe("the units", () => {
  const unit = (name: string) => readFileSync(`deploy/systemd/${name}`, "utf8");
  const setting = (text: string, name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1];

  test("give the parent longer to stop than it takes to drain", () => {
    const stopMs = Number(setting(unit("cloister-parent.service"), "TimeoutStopSec")) * 1000;
    expect(stopMs).toBeGreaterThan(2 * DEFAULT_LIMITS.drainTimeoutMs);
  });

  test("start what is there", () => {
    const enclave = setting(unit("cloister-enclave.service"), "ExecStart") ?? "";
    expect(enclave).toContain("/opt/cloister/bin/cloister.js enclave run ");
    expect(existsSync("bin/cloister.js")).toBe(true);
    expect(setting(unit("cloister-parent.service"), "ExecStart")).toContain(
      "/opt/cloister/dist/js/parent-proxy/main.js ",
    );
    expect(existsSync("parent-proxy/main.ts")).toBe(true);
    expect(setting(unit("cloister-health.service"), "ExecStart")).toBe("/opt/cloister/deploy/bin/cloister-health");
  });

  test("do not start an enclave again whose files are wrong, and never a debug one", () => {
    const text = unit("cloister-enclave.service");
    expect(setting(text, "RestartPreventExitStatus")).toBe("78");
    expect(text).not.toContain("--debug-mode");
    expect(readFileSync("cli/enclave.ts", "utf8")).toContain("const EX_CONFIG = 78;");
  });

  test("let the parent speak vsock and IP, and nothing else", () => {
    const families = setting(unit("cloister-parent.service"), "RestrictAddressFamilies");
    expect(families?.split(" ").sort()).toEqual(["AF_INET", "AF_INET6", "AF_UNIX", "AF_VSOCK"]);
    expect(unit("cloister-parent.service")).not.toMatch(/^SupplementaryGroups=/m);
  });
});
