/** Archives that others write: GNU tar, bsdtar and Python, in every format that they have. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { contentOf, readAll, temporaryFolder } from "./tar-fixture.ts";

function has(command: string, pattern: RegExp): boolean {
  const { stdout, error } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return error === undefined && pattern.test(stdout);
}

function make(command: string, args: readonly string[], cwd: string): void {
  const { status, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 20_000 });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}

/** Short names, long ones, links of both kinds, modes, and a file with a hole. */
function folder({ longNames }: { readonly longNames: boolean }): string {
  const root = temporaryFolder();
  const put = (name: string, content: string, mode = 0o644): void => {
    writeFileSync(join(root, name), content);
    chmodSync(join(root, name), mode);
  };
  mkdirSync(join(root, "d"), { mode: 0o700 });
  put("d/a", "content of a");
  put("d/setuid", "s", 0o4755);
  put("empty", "");
  symlinkSync("../elsewhere", join(root, "d/link"));
  linkSync(join(root, "d/a"), join(root, "d/hard"));
  if (longNames) {
    const long = "n".repeat(120);
    mkdirSync(join(root, long));
    put(`${long}/${"m".repeat(200)}`, "long");
    put(`${long}/ümläut-€`, "foreign");
    symlinkSync("t".repeat(300), join(root, long, "far"));
  }
  return root;
}

async function drawn(bytes: Uint8Array): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readAll(bytes)) {
    const name = Buffer.from(entry.name.replace(/^\.\//, "").replace(/\/$/, ""), "latin1").toString("utf8");
    const what = entry.kind === "file" ? (await contentOf(entry)).toString("latin1") : entry.linkName;
    found.set(name, `${entry.kind} ${entry.mode.toString(8)} ${what}`);
  }
  return found;
}

async function expectFolder(path: string, { longNames }: { readonly longNames: boolean }): Promise<void> {
  const found = await drawn(await readFile(path));
  expect(found.get("d")).toBe("directory 700 ");
  expect(found.get("d/setuid")).toBe("file 4755 s");
  expect(found.get("empty")).toBe("file 644 ");
  expect(found.get("d/link")).toMatch(/^symlink [0-7]+ \.\.\/elsewhere$/);
  // Which of the two names comes first is the file system's affair.
  const [a = "", hard = ""] = [found.get("d/a"), found.get("d/hard")].sort();
  expect(a).toBe("file 644 content of a");
  expect(hard).toMatch(/^hard-link 644 (\.\/)?d\/(a|hard)$/);
  if (!longNames) return;
  const long = "n".repeat(120);
  expect(found.get(`${long}/${"m".repeat(200)}`)).toBe("file 644 long");
  expect(found.get(`${long}/ümläut-€`)).toBe("file 644 foreign");
  expect(found.get(`${long}/far`)).toMatch(new RegExp(`^symlink [0-7]+ ${"t".repeat(300)}$`));
}

describe.skipIf(!has("tar", /GNU tar/))("GNU tar (skipped where it is not installed)", () => {
  test.each(["v7", "ustar", "oldgnu", "gnu", "pax"])("--format=%s", async (format) => {
    const options = { longNames: ["oldgnu", "gnu", "pax"].includes(format) };
    const root = folder(options);
    const out = join(temporaryFolder(), "out.tar");
    make("tar", [`--format=${format}`, "-cf", out, "."], root);
    await expectFolder(out, options);
  });

  test.each([
    ["gnu", []],
    ["pax", ["--sparse-version=0.0"]],
    ["pax", ["--sparse-version=0.1"]],
    ["pax", ["--sparse-version=1.0"]],
  ])("sparse files, --format=%s %s", async (format, version) => {
    const root = temporaryFolder();
    // More segments than a header holds.
    const content = Buffer.alloc(3_000_000);
    for (let at = 0; at < 30; at++) content.write(`piece ${at}`, at * 100_000);
    const file = openSync(join(root, "sparse"), "w");
    for (let at = 0; at < 30; at++) writeSync(file, `piece ${at}`, at * 100_000);
    ftruncateSync(file, content.length);
    closeSync(file);
    const out = join(temporaryFolder(), "out.tar");
    make("tar", [`--format=${format}`, ...version, "--sparse", "--hole-detection=raw", "-cf", out, "sparse"], root);
    const archived = await readFile(out);
    expect(archived.length).toBeLessThan(1_000_000);
    const [found] = await readAll(archived);
    expect(found?.name).toBe("sparse");
    expect((await contentOf(found as never)).equals(content)).toBe(true);
  });
});

describe.skipIf(!has("bsdtar", /libarchive/))("bsdtar (skipped where it is not installed)", () => {
  test.each(["v7", "ustar", "gnutar", "pax"])("--format %s", async (format) => {
    const options = { longNames: ["gnutar", "pax"].includes(format) };
    const root = folder(options);
    const out = join(temporaryFolder(), "out.tar");
    const { status } = spawnSync("bsdtar", ["--format", format, "-cf", out, "."], {
      cwd: root,
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
    expect(status).toBe(0);
    await expectFolder(out, options);
  });
});

describe.skipIf(!has("python3", /Python 3/))("Python's tarfile (skipped where it is not installed)", () => {
  test.each(["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"])("%s", async (format) => {
    const options = { longNames: format !== "USTAR_FORMAT" };
    const root = folder(options);
    const out = join(temporaryFolder(), "out.tar");
    const script = `import sys,tarfile\nwith tarfile.open(sys.argv[1],"w",format=tarfile.${format}) as t: t.add(".")`;
    make("python3", ["-c", script, out], root);
    await expectFolder(out, options);
  });
});
