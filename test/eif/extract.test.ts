/** Taking images apart, those of attackers included. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { bytesSource, extractEif, inspectEifBytes } from "../../eif/index.ts";
import { unpackRamdisk } from "../../eif/unpack-ramdisk.ts";
import { CMDLINE, cpio, cpioEntry, image, KERNEL, METADATA, METADATA_PIECE, piece } from "./images.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let out = "";
beforeEach(() => {
  out = join(folder, `out-${readdirSync(folder).length}`);
});

async function extract(ramdisk: Uint8Array, unpack: boolean) {
  const bytes = image([KERNEL, CMDLINE, METADATA_PIECE, piece("ramdisk", ramdisk), piece("ramdisk", gzipSync(cpio()))]);
  return extractEif(await inspectEifBytes(bytes), out, unpack);
}

const read = (name: string) => readFileSync(join(out, name), "utf8");
const directory = (name: string) => cpioEntry(name, "", { mode: 0o40755 });
const link = (name: string, target: string) => cpioEntry(name, target, { mode: 0o120777 });

test("every section becomes a file, byte for byte", async () => {
  const { files, leftOut } = await extract(zstdCompressSync(cpio()), false);
  expect(files).toEqual(["kernel", "cmdline", "metadata.json", "ramdisk-0.cpio.zst", "ramdisk-1.cpio.gz"]);
  expect(leftOut).toEqual([]);
  expect(read("kernel")).toBe("KERNEL");
  expect(read("cmdline")).toBe("console=ttyS0");
  expect(read("metadata.json")).toBe(METADATA);
  expect(readFileSync(join(out, "ramdisk-0.cpio.zst")).equals(zstdCompressSync(cpio()))).toBe(true);
});

test("a folder in which something lies is not touched", async () => {
  mkdirSync(out);
  writeFileSync(join(out, "mine"), "mine");
  await expect(extract(cpio(), false)).rejects.toMatchObject({ code: "OUTPUT_NOT_EMPTY" });
  expect(readdirSync(out)).toEqual(["mine"]);
});

test("files are unpacked with their modes and times; the last of a name counts", async () => {
  const archive = cpio(
    directory("bin"),
    cpioEntry("bin/old", "1"),
    cpioEntry("bin/old", "2", { mode: 0o100755, mtime: 86_400 }),
    cpioEntry("no/parent", "3", { mode: 0o100400 }),
    link("bin/link", "old"),
    cpioEntry("bin/replaced", "file"),
    link("bin/replaced", "../bin/old"),
  );
  const { leftOut } = await extract(zstdCompressSync(archive), true);
  expect(leftOut).toEqual([]);
  expect(read("ramdisk-0/bin/old")).toBe("2");
  expect(lstatSync(join(out, "ramdisk-0/bin/old")).mode & 0o7777).toBe(0o755);
  expect(lstatSync(join(out, "ramdisk-0/bin/old")).mtimeMs).toBe(86_400_000);
  expect(lstatSync(join(out, "ramdisk-0/no/parent")).mode & 0o7777).toBe(0o400);
  expect(readlinkSync(join(out, "ramdisk-0/bin/link"))).toBe("old");
  expect(readlinkSync(join(out, "ramdisk-0/bin/replaced"))).toBe("../bin/old");
});

describe("an archive by an attacker", () => {
  const outside = join(folder, "outside");

  test.each([
    ["a name that climbs out", [cpioEntry("../outside/evil", "x")]],
    ["one that climbs out from inside", [directory("a"), cpioEntry("a/../../outside/evil", "x")]],
    ["an absolute name, which is taken as one inside", [cpioEntry(`${outside}/evil`, "x")]],
    ["a link to a folder, and a file behind it", [link("to", outside), cpioEntry("to/evil", "x")]],
    [
      "a link to a folder, a file in the link's place, and the link again",
      [link("to", outside), cpioEntry("to/evil", "x"), link("to", outside)],
    ],
    ["a link to a file, and that file written", [link("to", `${outside}/evil`), cpioEntry("to", "x")]],
    ["a link behind a link", [link("to", outside), link("to/evil", "/etc/passwd")]],
    ["a directory made a link after it was made", [directory("to"), link("to", outside), cpioEntry("to/evil", "x")]],
    ["a directory through a link", [link("to", outside), directory("to/evil")]],
  ])("%s: nothing comes to lie outside", async (_, entries) => {
    rmSync(outside, { recursive: true, force: true });
    mkdirSync(outside);
    await extract(cpio(...entries), true);
    expect(readdirSync(outside)).toEqual([]);
  });

  test("what climbs out, devices, sockets and bad links are listed and not made", async () => {
    const { leftOut } = await extract(
      cpio(
        cpioEntry("../evil", "x"),
        cpioEntry("dev/null", "", { mode: 0o20666, rdev: [1, 3] }),
        cpioEntry("dev/sda", "", { mode: 0o60660, rdev: [8, 0] }),
        cpioEntry("fifo", "", { mode: 0o10644 }),
        cpioEntry("odd", "", { mode: 0o644 }),
        link("empty", ""),
        link("long", "x".repeat(4096)),
        link("nul", "a\0b"),
        cpioEntry("file", "x"),
        cpioEntry("file/below", "x"),
        directory("folder"),
        cpioEntry("folder", "x"),
        cpioEntry("n".repeat(300), "x"),
      ),
      true,
    );
    expect(leftOut.map(({ name, why }) => `${name.slice(0, 12)}: ${why}`)).toEqual([
      "../evil: its name leads out of the folder",
      "dev/null: a character device 1:3",
      "dev/sda: a block device 8:0",
      "fifo: a fifo",
      "odd: a file of no known kind",
      "empty: a link to 0 bytes of name",
      "long: a link to 4096 bytes of name",
      "nul: a link whose target holds NUL",
      "file/below: file is no directory",
      "folder: something of that name is there",
      "nnnnnnnnnnnn: its name is too long",
    ]);
    expect(readdirSync(join(out, "ramdisk-0")).sort()).toEqual(["file", "folder"]);
  });

  test("targets of links and folders of folders count as names do", async () => {
    const unpackAs = (name: string, archive: Buffer, maxNameBytes: number) => {
      mkdirSync(out, { recursive: true });
      mkdirSync(join(out, name));
      return unpackRamdisk(bytesSource(archive), join(out, name), { maxNameBytes });
    };
    const tooLarge = expect.objectContaining({ code: "RAMDISK_TOO_LARGE" });
    const links = cpio(link("a", "t".repeat(50)), link("b", "t".repeat(50)));
    expect(await unpackAs("1", links, 102)).toEqual([]);
    await expect(unpackAs("2", links, 101)).rejects.toEqual(tooLarge);
    // "a/b/c" is kept, and "a", "a/b", "a/b/c" as folders.
    const folders = cpio(directory("a/b/c"));
    expect(await unpackAs("3", folders, 14)).toEqual([]);
    await expect(unpackAs("4", folders, 13)).rejects.toEqual(tooLarge);
  });

  test("set-user-id is dropped, and a folder stays one that its owner can open", async () => {
    await extract(cpio(cpioEntry("su", "x", { mode: 0o106755 }), cpioEntry("shut", "", { mode: 0o40000 })), true);
    expect(lstatSync(join(out, "ramdisk-0/su")).mode & 0o7777).toBe(0o755);
    expect(lstatSync(join(out, "ramdisk-0/shut")).mode & 0o7777).toBe(0o700);
  });

  test("a link that lies where the folder would is not followed: the folder must be empty", async () => {
    mkdirSync(out);
    symlinkSync("/etc", join(out, "ramdisk-0"));
    await expect(extract(cpio(), true)).rejects.toMatchObject({ code: "OUTPUT_NOT_EMPTY" });
  });

  test("a ramdisk that cannot be read is named, and the other files are there", async () => {
    await expect(extract(Buffer.from("nonsense"), true)).rejects.toMatchObject({
      code: "RAMDISK_COMPRESSION_UNSUPPORTED",
    });
    expect(existsSync(join(out, "ramdisk-0.bin"))).toBe(true);
  });
});
