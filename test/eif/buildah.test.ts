/** Images that a real engine makes, in each form in which it stores them. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildEif } from "../../eif/build-eif.ts";
import { bytesSource } from "../../eif/byte-source.ts";
import { ramdiskFiles } from "../../eif/ramdisk-files.ts";
import { readEif } from "../../eif/read-eif.ts";
import { temporaryFolder } from "./image/tar-fixture.ts";
import { x86Kernel } from "./kernel-fixture.ts";

const isThere = spawnSync("buildah", ["--version"]).error === undefined && process.getuid?.() === 0;

describe.skipIf(!isThere)("buildah (skipped where it is not installed, or not run as root)", () => {
  test("OCI layouts and docker archives give the same image, with whiteouts, links and owners", async () => {
    const folder = temporaryFolder();
    const buildah = (...args: readonly string[]): string => {
      // vfs: nothing is mounted that would have to be unmounted again.
      const storage = ["--root", join(folder, "storage"), "--runroot", join(folder, "run"), "--storage-driver", "vfs"];
      const { status, stdout, stderr } = spawnSync("buildah", [...storage, ...args], {
        encoding: "utf8",
        env: { ...process.env, BUILDAH_ISOLATION: "chroot" },
        timeout: 25_000,
      });
      if (status !== 0) throw new Error(`buildah ${args[0]}: ${stderr}`);
      return stdout.trim();
    };

    const root = join(folder, "root");
    mkdirSync(join(root, "app/old"), { recursive: true });
    writeFileSync(join(root, "init"), "#!init");
    chmodSync(join(root, "init"), 0o755);
    for (const name of ["app/main", "app/gone", "app/old/a", "app/old/b"]) writeFileSync(join(root, name), name);

    const base = buildah("from", "scratch");
    buildah("copy", "--chown", "1000:1001", base, root, "/");
    buildah("commit", base, "base");
    const container = buildah("from", "localhost/base");
    const mount = buildah("mount", container);
    const script = `
      set -e; cd "$1"
      rm app/gone; rm -r app/old; mkdir app/old; echo new > app/old/c
      ln app/main app/hard; ln -s ../init app/link; chown 5:6 app/old/c; chmod 4711 app/old/c
      mkdir "$(printf 'n%.0s' $(seq 1 150))"`;
    expect(spawnSync("sh", ["-c", script, "sh", mount], { encoding: "utf8" }).stderr).toBe("");
    buildah("config", "--arch", "amd64", "--cmd", '["/app/main"]', container);
    buildah("commit", container, "app");

    const built: Buffer[] = [];
    for (const target of ["oci:layout", "oci-archive:oci.tar", "docker-archive:docker.tar"]) {
      const [transport = "", name = ""] = target.split(":");
      buildah("push", "app", `${transport}:${join(folder, name)}`);
      built.push(await build(join(folder, name), join(folder, `${name}.eif`)));
    }
    for (const other of built.slice(1)) expect(built[0]?.equals(other)).toBe(true);

    const eif = await readEif(join(folder, "layout.eif"));
    const application = eif.sections.filter(({ type }) => type === "ramdisk")[1];
    if (application === undefined) throw new Error("no application");
    const files = await ramdiskFiles(eif.source(application));
    expect([...files.keys()].filter((name) => name.startsWith("app"))).toEqual([
      "app",
      "app/hard",
      "app/link",
      "app/main",
      "app/old",
      "app/old/c",
    ]);
    expect(files.get("app/main")).toMatchObject({ uid: 1000, gid: 1001 });
    expect(files.get("app/old/c")).toMatchObject({ uid: 5, gid: 6, permissions: 0o4711 });
    expect(files.get("n".repeat(150))?.kind).toBe("directory");
  });
});

async function build(path: string, out: string): Promise<Buffer> {
  const options = {
    source: { kind: "image" as const, path },
    out,
    kernel: bytesSource(x86Kernel("6.12.57")),
    cmdline: "quiet",
    epochSeconds: 0,
    compression: "zstd" as const,
    configuration: {},
    toolVersion: "0",
  };
  await buildEif(options, { signal: new AbortController().signal, onStep: () => undefined });
  return readFile(out);
}
