/** The cpio writer: fixed bytes, links, limits, and what other people's readers make of it. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { type ByteSource, bytesSource } from "../../../eif/byte-source.ts";
import { FileTree, type Leaf, namesOf } from "../../../eif/image/file-tree.ts";
import { cpioSource } from "../../../eif/ramdisk/cpio.ts";
import { contentOf } from "../image/tar-fixture.ts";

const file = (content: string, mode = 0o644): Leaf => ({
  kind: "file",
  mode,
  uid: 0,
  gid: 0,
  content: bytesSource(Buffer.from(content)),
});

const bytesOf = (content: ByteSource): Promise<Buffer> => contentOf({ content });

function tree(): FileTree {
  const made = new FileTree();
  made.place("d/a", file("content", 0o4755));
  made.place("d/link", { kind: "symlink", mode: 0o777, uid: 0, gid: 0, target: "../x" });
  made.place("null", { kind: "character-device", mode: 0o666, uid: 0, gid: 0, device: { major: 1, minor: 3 } });
  made.place("pipe", { kind: "fifo", mode: 0o600, uid: 0, gid: 0 });
  const shared = file("shared!");
  made.place("z1", shared);
  made.place("z2", shared);
  return made;
}

test("an archive written out by hand, from the kernel's description of the format", async () => {
  const made = new FileTree();
  made.place("d", { kind: "directory", mode: 0o755, uid: 1, gid: 2, children: new Map() });
  made.place("d/f", file("abcde"));
  const numbers = (...values: string[]): string => values.map((value) => value.padStart(8, "0")).join("");
  const expected =
    // magic; ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    `070701${numbers("1", "41ed", "1", "2", "2", "5f5e100", "0", "0", "0", "0", "0", "2", "0")}d\0` +
    `070701${numbers("2", "81a4", "0", "0", "1", "5f5e100", "5", "0", "0", "0", "0", "4", "0")}d/f\0\0\0abcde\0\0\0` +
    `070701${numbers("0", "0", "0", "0", "1", "0", "0", "0", "0", "0", "0", "b", "0")}TRAILER!!!\0\0\0\0`;
  expect((await bytesOf(cpioSource(namesOf(made.root), 100_000_000))).toString("latin1")).toBe(expected);
});

describe("hard links", () => {
  test("are one inode with its count, and the last name carries the content", async () => {
    const text = (await bytesOf(cpioSource(namesOf(tree().root), 0))).toString("latin1");
    const header = (name: string): string => text.slice(text.indexOf(`${name}\0`) - 110, text.indexOf(`${name}\0`));
    const field = (name: string, index: number): number =>
      Number.parseInt(header(name).slice(6 + 8 * index, 14 + 8 * index), 16);
    expect([field("z1", 0), field("z1", 4), field("z1", 6)]).toEqual([field("z2", 0), 2, 0]);
    expect([field("z2", 4), field("z2", 6)]).toEqual([2, 7]);
    expect(text.split("shared!")).toHaveLength(2);
    expect([field("null", 9), field("null", 10)]).toEqual([1, 3]);
  });

  test("whose other name is in another archive are files of their own", async () => {
    const half = namesOf(tree().root).filter(([name]) => name === "z1");
    expect((await bytesOf(cpioSource(half, 0))).toString("latin1")).toContain("shared!");
  });
});

describe("limits", () => {
  const sized = (sizeBytes: number): Leaf => ({
    kind: "file",
    mode: 0o644,
    uid: 0,
    gid: 0,
    content: { sizeBytes, chunks: () => bytesSource(new Uint8Array()).chunks() },
  });

  test("FILE_TOO_LARGE: 4 GiB - 1 fits, one byte more does not", () => {
    expect(cpioSource([["a", sized(0xffff_ffff)]], 0).sizeBytes).toBe(112 + 0xffff_ffff + 1 + 124);
    expect(() => cpioSource([["a", sized(0x1_0000_0000)]], 0)).toThrow(
      expect.objectContaining({ code: "FILE_TOO_LARGE" }),
    );
  });

  test("PATH_TOO_LONG: 4095 bytes and a NUL fit", () => {
    expect(cpioSource([["a".repeat(4095), file("")]], 0).sizeBytes).toBeGreaterThan(4095);
    expect(() => cpioSource([["a".repeat(4096), file("")]], 0)).toThrow(
      expect.objectContaining({ name: "BuildError", code: "PATH_TOO_LONG" }),
    );
  });

  test("RESERVED_NAME: a file that would end the archive, and hide what comes after it", () => {
    expect(() => cpioSource([["TRAILER!!!", file("")]], 0)).toThrow(expect.objectContaining({ code: "RESERVED_NAME" }));
    expect(cpioSource([["d/TRAILER!!!", file("")]], 0).sizeBytes).toBeGreaterThan(0);
  });
});

function judge(command: string, pattern: RegExp): boolean {
  const { stdout, error } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return error === undefined && pattern.test(stdout);
}

const NAMES = ["d", "d/a", "d/link", "null", "pipe", "z1", "z2"];

describe.skipIf(!judge("cpio", /GNU cpio/))("GNU cpio (skipped where it is not installed)", () => {
  test("lists the same names, kinds, owners and sizes", async () => {
    const input = await bytesOf(cpioSource(namesOf(tree().root), 0));
    const { stdout, stderr, status } = spawnSync("cpio", ["-itv", "--numeric-uid-gid", "--quiet"], {
      input,
      encoding: "utf8",
      env: { TZ: "UTC", LC_ALL: "C" },
    });
    expect([status, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => line.split(" 1970 ")[1]?.split(" -> ")[0])).toEqual(NAMES);
    expect(lines.map((line) => line.slice(0, 10))).toEqual([
      "drwxr-xr-x",
      "-rwsr-xr-x",
      "lrwxrwxrwx",
      "crw-rw-rw-",
      "prw-------",
      "-rw-r--r--",
      "-rw-r--r--",
    ]);
    expect(lines[2]).toContain("d/link -> ../x");
  });
});

describe.skipIf(!judge("bsdtar", /libarchive/))("bsdtar (skipped where it is not installed)", () => {
  test("lists the same names and finds the contents of both links", async () => {
    const input = await bytesOf(cpioSource(namesOf(tree().root), 0));
    const listed = spawnSync("bsdtar", ["-tf", "-"], { input, encoding: "utf8" });
    expect([listed.status, listed.stderr]).toEqual([0, ""]);
    expect(listed.stdout.trimEnd().split("\n")).toEqual(NAMES);
    const content = spawnSync("bsdtar", ["-xOf", "-", "d/a", "z2"], { input, encoding: "utf8" });
    expect(content.stdout).toBe("contentshared!");
  });
});
