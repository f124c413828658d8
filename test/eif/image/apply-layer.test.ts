/** Layers over layers: whiteouts, links, what replaces what, and images that mean harm. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { applyLayer } from "../../../eif/image/apply-layer.ts";
import { FileTree, type Node, namesOf } from "../../../eif/image/file-tree.ts";
import { readTar } from "../../../eif/image/read-tar.ts";
import { archive, budgetOf, contentOf, entry, type Fields, fileOf, pax } from "./tar-fixture.ts";

const dir = (name: string, fields: Fields = {}): Buffer => entry({ name, type: "5", mode: 0o755, ...fields });
const file = (name: string, content = name, fields: Fields = {}): Buffer => entry({ name, ...fields }, content);
const link = (name: string, linkName: string): Buffer => entry({ name, type: "1", linkName });
const symlink = (name: string, linkName: string): Buffer => entry({ name, type: "2", linkName });

async function apply(...layers: readonly (readonly Buffer[])[]): Promise<FileTree> {
  const tree = new FileTree();
  for (const layer of layers) {
    await applyLayer(tree, readTar(await fileOf(archive(...layer)), budgetOf()), { xattrs: new Map() });
  }
  return tree;
}

async function drawn(tree: FileTree): Promise<string[]> {
  const lines: string[] = [];
  for (const [name, node] of namesOf(tree.root)) lines.push(`${name} ${await contentText(node)}`);
  return lines;
}

async function contentText(node: Node): Promise<string> {
  if (node.kind === "file") return `= ${(await contentOf(node)).toString()}`;
  return node.kind === "symlink" ? `-> ${node.target}` : node.kind;
}

describe("layers", () => {
  test("a later layer's file replaces, and takes owner and mode along", async () => {
    const tree = await apply([file("a", "1", { uid: 1 })], [file("a", "2", { uid: 2, mode: 0o4755 })]);
    expect(tree.find("a")).toMatchObject({ uid: 2, mode: 0o4755 });
    expect(await drawn(tree)).toEqual(["a = 2"]);
  });

  test("a folder over a folder changes its mode and keeps what is in it", async () => {
    const tree = await apply([dir("d"), file("d/a")], [dir("d", { mode: 0o700, uid: 5 })]);
    expect(await drawn(tree)).toEqual(["d directory", "d/a = d/a"]);
    expect(tree.find("d")).toMatchObject({ mode: 0o700, uid: 5 });
  });

  test("a file over a folder takes all of it away; a folder over a file or a link as well", async () => {
    expect(await drawn(await apply([dir("d"), file("d/a")], [file("d", "now")]))).toEqual(["d = now"]);
    expect(await drawn(await apply([file("d")], [dir("d"), file("d/a")]))).toEqual(["d directory", "d/a = d/a"]);
    expect(await drawn(await apply([symlink("d", "/etc")], [dir("d"), file("d/a")]))).toEqual([
      "d directory",
      "d/a = d/a",
    ]);
  });

  test("missing parents are made, 0755 and root's", async () => {
    const tree = await apply([file("a/b/c", "x", { uid: 9 })]);
    expect(await drawn(tree)).toEqual(["a directory", "a/b directory", "a/b/c = x"]);
    expect(tree.find("a/b")).toMatchObject({ mode: 0o755, uid: 0, gid: 0 });
  });

  test('names lose "./", a leading "/" and doubled slashes; the root itself is passed over', async () => {
    const tree = await apply([dir("./"), dir("/"), file("./a"), file("/b"), file("c//./d")]);
    expect((await drawn(tree)).map((line) => line.split(" ")[0])).toEqual(["a", "b", "c", "c/d"]);
  });

  test("names are sorted by their bytes", async () => {
    const tree = await apply([file("a/b"), file("a-b"), file("B"), file("\xc3\xa4"), file("a.b"), file("z")]);
    expect(namesOf(tree.root).map(([name]) => name)).toEqual(["B", "a", "a-b", "a.b", "a/b", "z", "\xc3\xa4"]);
  });

  test("a symbolic link's mode is always 0777", async () => {
    expect((await apply([entry({ name: "l", type: "2", linkName: "x", mode: 0o700 })])).find("l")?.mode).toBe(0o777);
  });

  test("devices and fifos stay what they are", async () => {
    const tree = await apply([
      entry({ name: "null", type: "3", major: 1, minor: 3, mode: 0o666 }),
      entry({ name: "sda", type: "4", major: 8, minor: 0 }),
      entry({ name: "pipe", type: "6" }),
    ]);
    expect(tree.find("null")).toMatchObject({ kind: "character-device", device: { major: 1, minor: 3 } });
    expect(tree.find("sda")?.kind).toBe("block-device");
    expect(tree.find("pipe")?.kind).toBe("fifo");
  });
});

describe("whiteouts", () => {
  const below = [dir("d"), file("d/a"), file("d/b"), dir("d/e"), file("d/e/f"), file("x")];

  test("take away a name and all below it", async () => {
    expect(await drawn(await apply(below, [file("d/.wh.e", ""), file(".wh.x", "")]))).toEqual([
      "d directory",
      "d/a = d/a",
      "d/b = d/b",
    ]);
  });

  test("an opaque folder loses what lower layers put there, not what its own layer does", async () => {
    const above = [dir("d"), file("d/new"), file("d/.wh..wh..opq", ""), file("d/a", "again")];
    expect(await drawn(await apply(below, above))).toEqual(["d directory", "d/a = again", "d/new = d/new", "x = x"]);
  });

  test("hold for lower layers only, wherever they stand in their own", async () => {
    for (const above of [
      [file("d/.wh.a", ""), file("d/a", "new")],
      [file("d/a", "new"), file("d/.wh.a", "")],
    ]) {
      expect(await drawn(await apply([dir("d"), file("d/a")], above))).toEqual(["d directory", "d/a = new"]);
    }
  });

  test("of the root, of nothing, and below what is gone", async () => {
    expect(await drawn(await apply(below, [file(".wh..wh..opq", ""), file("y")]))).toEqual(["y = y"]);
    expect(await drawn(await apply([file("x")], [file(".wh.nothing", ""), file("no/.wh.way", "")]))).toEqual(["x = x"]);
    expect(await drawn(await apply([file("x")], [file("x/.wh.y", "")]))).toEqual(["x = x"]);
  });

  test("in a folder that replaces a symbolic link, as overlayfs writes them", async () => {
    const above = [dir("l"), file("l/.wh..wh..opq", ""), file("l/a")];
    expect(await drawn(await apply([symlink("l", "d"), file("d/b")], above))).toEqual([
      "d directory",
      "d/b = d/b",
      "l directory",
      "l/a = l/a",
    ]);
  });

  test("are not left in the image", async () => {
    expect(await drawn(await apply([file(".wh.a", "content")]))).toEqual([]);
  });
});

describe("hard links", () => {
  test("are one file under two names, in any order and through each other", async () => {
    for (const layer of [
      [file("b", "1"), link("a", "b"), link("c", "a")],
      [link("c", "a"), link("a", "b"), file("b", "1")],
    ]) {
      const tree = await apply(layer);
      expect(tree.find("a")).toBe(tree.find("b"));
      expect(tree.find("c")).toBe(tree.find("b"));
    }
  });

  test("reach into lower layers, and replacing one name leaves the other", async () => {
    const tree = await apply([file("b", "1")], [link("a", "./b")], [file("b", "2")]);
    expect(await drawn(tree)).toEqual(["a = 1", "b = 2"]);
  });

  test("to a symbolic link and to a device are the same thing again", async () => {
    const tree = await apply([symlink("s", "x"), link("a", "s")]);
    expect(tree.find("a")).toBe(tree.find("s"));
  });

  test.each([
    ["a name that is nowhere", [[link("a", "b")]]],
    ["a name that was whited out", [[file("b")], [file(".wh.b", ""), link("a", "b")]]],
    ["itself", [[link("a", "a")]]],
    ["a circle", [[link("a", "b"), link("b", "a")]]],
    ["a folder", [[dir("d"), link("a", "d")]]],
    ["the root", [[link("a", "/")]]],
    ["a file through a symbolic link", [[symlink("l", "d"), file("d/b"), link("a", "l/b")]]],
    ["what it replaces", [[dir("d"), file("d/b")], [link("d", "d/b")]]],
  ] as const)("LINK_TARGET: %s", async (_what, layers) => {
    await expect(apply(...layers)).rejects.toMatchObject({ name: "ImageError", code: "LINK_TARGET" });
  });
});

describe("what would take for ever, if each step were taken anew", () => {
  test("a chain of 20,000 hard links", async () => {
    const links = Array.from({ length: 20_000 }, (_, at) => link(`l${at}`, `l${at + 1}`));
    const tree = await apply([...links, file("l20000", "end")]);
    expect(tree.find("l0")).toBe(tree.find("l20000"));
  });

  test("2,000 whiteouts, 2,000 folders deep", async () => {
    const deep = "d/".repeat(2000);
    const whiteouts = Array.from({ length: 2000 }, (_, at) => [pax([["path", `${deep}.wh.${at}`]]), entry({})]).flat();
    const tree = await apply([pax([["path", `${deep}7`]]), entry({})], whiteouts);
    expect(tree.find(`${deep}7`)).toBeUndefined();
    expect(tree.find(deep.slice(0, -1))?.kind).toBe("directory");
  });
});

describe("hostile images", () => {
  const long = (bytes: number): string => `${"d".repeat(99)}/`.repeat(bytes / 100);
  const cases: readonly [string, string, readonly (readonly Buffer[])[]][] = [
    ["NAME_OUTSIDE_ROOT", "..", [[file("../init")]]],
    ["NAME_OUTSIDE_ROOT", ".. that would stay inside", [[file("a/../init")]]],
    ["NAME_OUTSIDE_ROOT", ".. from the root", [[file("/../../etc/shadow")]]],
    ["NAME_OUTSIDE_ROOT", ".. in a hard link's target", [[file("a"), link("b", "../a")]]],
    ["NAME_INVALID", "no name", [[entry({ name: "" })]]],
    ["NAME_INVALID", "a NUL in a PAX name", [[pax([["path", "a\0b"]]), entry({})]]],
    ["NAME_INVALID", "a root that is a file", [[file("./")].map(() => entry({ name: "." }, "x"))]],
    ["NAME_INVALID", "a symbolic link to nothing", [[symlink("a", "")]]],
    ["NAME_INVALID", "a NUL in a link's target", [[pax([["linkpath", "a\0b"]]), symlink("a", "x")]]],
    ["NAME_TOO_LONG", "a name of 4096 bytes", [[pax([["path", `${long(4000)}${"x".repeat(96)}`]]), entry({})]]],
    ["NAME_TOO_LONG", "a component of 256 bytes", [[pax([["path", "x".repeat(256)]]), entry({})]]],
    ["NAME_TOO_LONG", "a target of 4096 bytes", [[pax([["linkpath", "x".repeat(4096)]]), symlink("a", "x")]]],
    ["NAME_DUPLICATE", "two /init in one layer", [[file("init", "good"), file("init", "evil")]]],
    ["NAME_DUPLICATE", "two /init by two spellings", [[file("init", "good"), file(".//init", "evil")]]],
    ["NAME_DUPLICATE", "a folder with two modes", [[dir("d"), dir("d/", { mode: 0o777 })]]],
    ["NAME_DUPLICATE", "a file and a folder", [[file("d"), dir("d")]]],
    ["THROUGH_SYMLINK", "/init through a link to the root", [[symlink("l", "/"), file("l/init", "evil")]]],
    [
      "THROUGH_SYMLINK",
      "the same over two layers",
      [[file("init", "good"), symlink("l", ".")], [file("l/init", "evil")]],
    ],
    ["THROUGH_SYMLINK", "a folder through a link", [[symlink("l", "etc")], [dir("l/cloister")]]],
    ["THROUGH_SYMLINK", "a hard link's place through a link", [[symlink("l", "/"), file("a"), link("l/init", "a")]]],
    [
      "THROUGH_SYMLINK",
      "a whiteout through a link",
      [[symlink("l", "etc"), file("etc/passwd")], [file("l/.wh.passwd", "")]],
    ],
    ["THROUGH_SYMLINK", "an opaque folder through a link", [[symlink("l", "etc")], [file("l/.wh..wh..opq", "")]]],
    ["PARENT_NOT_DIRECTORY", "a file below a file", [[file("a"), file("a/b")]]],
    ["PARENT_NOT_DIRECTORY", "a file below another layer's file", [[file("a")], [file("a/b")]]],
    ["PARENT_NOT_DIRECTORY", "a file below a device", [[entry({ name: "a", type: "3", major: 1 }), file("a/b")]]],
    ["WHITEOUT_INVALID", "of nothing", [[file(".wh.", "")]]],
    ["WHITEOUT_INVALID", 'of "."', [[file("d/.wh..", "")]]],
    ["WHITEOUT_INVALID", 'of ".."', [[file("d/.wh...", "")]]],
    ["WHITEOUT_INVALID", "of aufs", [[file(".wh..wh.plnk", "")]]],
    ["WHITEOUT_INVALID", "with something below it", [[file(".wh.d/a", "")]]],
    ["DEVICE_UNSUPPORTED", "a whiteout of overlayfs", [[entry({ name: "a", type: "3" })]]],
    ["DEVICE_UNSUPPORTED", "a major number of 13 bits", [[entry({ name: "a", type: "4", major: 4096 })]]],
    ["DEVICE_UNSUPPORTED", "a minor number of 21 bits", [[entry({ name: "a", type: "3", minor: 0x10_0000 })]]],
  ];

  test.each(cases)("%s: %s", async (code, _what, layers) => {
    await expect(apply(...layers)).rejects.toMatchObject({ name: "ImageError", code });
  });

  test("names at their limits are taken", async () => {
    const name = `${long(4000)}${"x".repeat(95)}`;
    expect(name.length).toBe(4095);
    expect(namesOf((await apply([pax([["path", name]]), entry({})])).root).at(-1)?.[0]).toBe(name);
  });

  test("implied folders count: one name can make two thousand of them", async () => {
    const budget = budgetOf({ maxEntries: 1000 });
    const tree = new FileTree((name) => budget.takeEntry(name, ""));
    const layer = readTar(await fileOf(archive(pax([["path", "d/".repeat(2000)]]), dir("x"))), budget);
    await expect(applyLayer(tree, layer, { xattrs: new Map() })).rejects.toMatchObject({ code: "TOO_MANY_ENTRIES" });
  });
});

test("extended attributes are counted by name", async () => {
  const notes = { xattrs: new Map<string, number>() };
  const records = [["SCHILY.xattr.security.capability", "x"] as const];
  const layer = await fileOf(archive(pax(records), file("a"), pax(records), file("b"), file("c")));
  await applyLayer(new FileTree(), readTar(layer, budgetOf()), notes);
  expect([...notes.xattrs]).toEqual([["security.capability", 2]]);
});

test("extended attributes without end are counted together", async () => {
  const notes = { xattrs: new Map<string, number>() };
  const records = Array.from({ length: 100 }, (_, at) => [`SCHILY.xattr.user.${at}`, "x"] as const);
  const long = [`SCHILY.xattr.${"n".repeat(1000)}`, "x"] as const;
  const layer = await fileOf(archive(pax([long, ...records]), file("a"), pax(records), file("b")));
  await applyLayer(new FileTree(), readTar(layer, budgetOf()), notes);
  expect(notes.xattrs.size).toBe(33);
  expect(notes.xattrs.get("(others)")).toBe(2 * 100 + 1 - 31 * 2 - 1);
  expect([...notes.xattrs.keys()].every((name) => name.length <= 255)).toBe(true);
});

test("the order of entries in a layer does not matter", async () => {
  const lower = [dir("d"), file("d/a"), file("d/b"), symlink("s", "d"), dir("o"), file("o/1"), file("gone")];
  const upper = [
    dir("d", { mode: 0o700 }),
    file("d/.wh.a", ""),
    link("d/h", "e/deep/file"),
    file("e/deep/file", "content"),
    dir("o"),
    file("o/.wh..wh..opq", ""),
    file("o/2"),
    file("gone", "back"),
    file(".wh.gone", ""),
    dir("s"),
    file("s/real"),
    link("z", "d/h"),
  ];
  const expected = await drawn(await apply(lower, upper));
  expect(expected).toHaveLength(12);
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(upper, { minLength: upper.length }), async (shuffled) => {
      expect(await drawn(await apply(lower, shuffled))).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});
