/** What made a PCR move. */
import { zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type Difference, diffEifs, type EifDifference, inspectEifBytes } from "../../eif/index.ts";
import { CMDLINE, cpio, cpioEntry, image, KERNEL, METADATA, METADATA_PIECE, type Piece, piece } from "./images.ts";

const BOOT = cpio(cpioEntry("init", "init", { mode: 0o100755 }));
const FILES = cpio(cpioEntry("app/main.mjs", "console.log(1)"), cpioEntry("app/data", "data"));
const ramdisk = (bytes: Uint8Array) => piece("ramdisk", bytes);
const BASE: readonly Piece[] = [KERNEL, CMDLINE, METADATA_PIECE, ramdisk(BOOT), ramdisk(FILES)];
const at = (index: number, replacement: Piece) => BASE.map((one, place) => (place === index ? replacement : one));

async function diff(a: Uint8Array, b: Uint8Array): Promise<EifDifference> {
  return diffEifs(await inspectEifBytes(a), await inspectEifBytes(b));
}

/** From the base image. Every move that is claimed is held against the PCRs that moved. */
async function diffTo(pieces: readonly Piece[], options?: Parameters<typeof image>[1]): Promise<readonly Difference[]> {
  const { differences, moved, isSameFile } = await diff(image(BASE), image(pieces, options));
  expect(isSameFile).toBe(false);
  expect([...new Set(differences.flatMap(({ moves }) => moves))].sort()).toEqual([...moved].sort());
  return differences;
}

test("the same image differs in nothing", async () => {
  expect(await diff(image(BASE), image(BASE))).toEqual({ differences: [], moved: [], isSameFile: true });
});

test("kernel and command line move PCR0 and PCR1", async () => {
  expect(await diffTo(at(0, piece("kernel", "OTHER")))).toMatchObject([{ kind: "kernel", moves: ["PCR0", "PCR1"] }]);
  expect(await diffTo(at(1, piece("cmdline", "console=ttyS0 quiet")))).toEqual([
    { kind: "cmdline", a: "console=ttyS0", b: "console=ttyS0 quiet", moves: ["PCR0", "PCR1"] },
  ]);
});

test("metadata moves nothing, and is compared value by value", async () => {
  const other = METADATA.replace('"app"', '"web"').replace('"CustomMetadata":null', '"CustomMetadata":{"a":1}');
  expect(await diffTo(at(2, piece("metadata", other)))).toEqual([
    {
      kind: "metadata",
      moves: [],
      changes: [
        { path: "ImageName", a: '"app"', b: '"web"' },
        { path: "CustomMetadata", a: "null", b: '{"a":1}' },
      ],
    },
  ]);
  expect(await diffTo(at(2, piece("metadata", ` ${METADATA}`)))).toMatchObject([{ kind: "metadata", changes: [] }]);
});

test("header fields move nothing", async () => {
  const differences = await diffTo(BASE, { flags: 1, patch: (file) => file.setBigUint64(8, 5n) });
  expect(differences).toEqual([
    { kind: "header", field: "architecture", a: "x86_64", b: "aarch64", moves: [] },
    { kind: "header", field: "default memory", a: "1073741824", b: "5", moves: [] },
  ]);
});

describe("ramdisks", () => {
  test("the first moves PCR0 and PCR1, the others PCR0 and PCR2", async () => {
    const other = ramdisk(cpio(cpioEntry("init", "other", { mode: 0o100755 })));
    expect(await diffTo(at(3, other))).toMatchObject([{ kind: "ramdisk", index: 0, moves: ["PCR0", "PCR1"] }]);
    expect(await diffTo(at(4, ramdisk(BOOT)))).toMatchObject([{ kind: "ramdisk", index: 1, moves: ["PCR0", "PCR2"] }]);
  });

  test.each([
    [
      "added",
      cpio(cpioEntry("app/main.mjs", "console.log(1)"), cpioEntry("app/data", "data"), cpioEntry("new", "n")),
      [{ kind: "added", name: "new" }],
    ],
    ["removed", cpio(cpioEntry("app/main.mjs", "console.log(1)")), [{ kind: "removed", name: "app/data" }]],
    [
      "changed in content",
      cpio(cpioEntry("app/main.mjs", "console.log(2)"), cpioEntry("app/data", "data")),
      [{ name: "app/main.mjs", changes: [{ what: "contentSha256" }] }],
    ],
    [
      "changed in mode",
      cpio(cpioEntry("app/main.mjs", "console.log(1)", { mode: 0o100755 }), cpioEntry("app/data", "data")),
      [{ name: "app/main.mjs", changes: [{ what: "permissions", a: 0o644, b: 0o755 }] }],
    ],
    [
      "changed in owner",
      cpio(cpioEntry("app/main.mjs", "console.log(1)", { uid: 7 }), cpioEntry("app/data", "data")),
      [{ name: "app/main.mjs", changes: [{ what: "uid", a: 0, b: 7 }] }],
    ],
    [
      "changed in time",
      cpio(cpioEntry("app/main.mjs", "console.log(1)", { mtime: 9 }), cpioEntry("app/data", "data")),
      [{ name: "app/main.mjs", changes: [{ what: "mtimeSeconds", a: 0, b: 9 }] }],
    ],
    [
      "changed in kind",
      cpio(cpioEntry("app/main.mjs", "console.log(1)", { mode: 0o120644 }), cpioEntry("app/data", "data")),
      [{ name: "app/main.mjs", changes: [{ what: "kind", a: "file", b: "symlink" }] }],
    ],
  ])("a file %s", async (_, bytes, files) => {
    for (const packed of [bytes, zstdCompressSync(bytes)]) {
      const [difference] = await diffTo(at(4, ramdisk(packed)));
      expect(difference).toMatchObject({ kind: "ramdisk", index: 1, files });
    }
  });

  test("the same files packed otherwise", async () => {
    const why = async (bytes: Uint8Array) => {
      const [difference] = await diffTo(at(4, ramdisk(bytes)));
      return difference?.kind === "ramdisk" && difference.files.length === 0 ? difference.why : "";
    };
    expect(await why(zstdCompressSync(FILES))).toBe("the same files; compression none in A, zstd in B");
    const turned = cpio(cpioEntry("app/data", "data"), cpioEntry("app/main.mjs", "console.log(1)"));
    expect(await why(turned)).toContain("packed otherwise: their order, inode numbers or padding");
  });

  test("one that cannot be read is said to be different, and why", async () => {
    const [difference] = await diffTo(at(4, ramdisk(Buffer.from("fd377a585a00", "hex"))));
    expect(difference).toMatchObject({ why: expect.stringContaining("RAMDISK_COMPRESSION_UNSUPPORTED") as string });
  });

  test("one more", async () => {
    expect(await diffTo([...BASE, ramdisk(BOOT)])).toMatchObject([
      { index: 2, why: "only in B", moves: ["PCR0", "PCR2"] },
    ]);
  });
});

test("sections in another order move PCR0 and PCR1, but for the metadata's", async () => {
  const [kernel = KERNEL, cmdline = CMDLINE, ...rest] = BASE;
  expect(await diffTo([cmdline, kernel, ...rest])).toMatchObject([{ kind: "order", moves: ["PCR0", "PCR1"] }]);
  const [metadata = METADATA_PIECE, ...ramdisks] = rest;
  expect(await diffTo([kernel, cmdline, ...ramdisks, metadata])).toMatchObject([{ kind: "order", moves: [] }]);
});
