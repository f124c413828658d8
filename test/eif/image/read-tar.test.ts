/** The tar reader: what each dialect means, and every way in which an archive is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageError } from "../../../eif/image/errors.ts";
import { archive, contentOf, entry, gnuLong, header, padded, pax, readAll } from "./tar-fixture.ts";

describe("dialects", () => {
  test("a header as GNU tar 1.34 wrote it in the ustar format", async () => {
    const block = Buffer.alloc(512);
    block.write("612e747874", 0, "hex");
    block.write(
      "303030303634340030303031373530003030303137353100303030303030303030303300303030303030303030303000303130323132002030",
      100,
      "hex",
    );
    block.write("7573746172003030", 257, "hex");
    block.write("30303030303030003030303030303000", 329, "hex");
    const [file, ...rest] = await readAll(archive(block, padded(Buffer.from("abc"))));
    expect(rest).toEqual([]);
    expect(file).toMatchObject({ kind: "file", name: "a.txt", mode: 0o644, uid: 1000, gid: 1001, xattrs: [] });
    expect((await contentOf(file as never)).toString()).toBe("abc");
  });

  test("v7: no magic, no prefix, folders end in a slash", async () => {
    const entries = await readAll(
      archive(entry({ name: "d/", type: "\0", dialect: "v7", mode: 0o755 }), entry({ dialect: "v7", type: "\0" }, "x")),
    );
    expect(entries.map(({ kind, name }) => [kind, name])).toEqual([
      ["directory", "d/"],
      ["file", "file"],
    ]);
  });

  test("ustar: the prefix comes before the name", async () => {
    expect((await readAll(archive(entry({ name: "n", prefix: "p/q" }))))[0]?.name).toBe("p/q/n");
  });

  test("star: its prefix is 131 bytes long, and times follow", async () => {
    const over = [[476, "14000000000\x0014000000000\0"]] as const;
    expect((await readAll(archive(entry({ name: "n", prefix: "p", dialect: "star", over }))))[0]?.name).toBe("p/n");
  });

  test("gnu: times stand where ustar has the prefix", async () => {
    const over = [[345, "14000000000\x0014000000000\0"]] as const;
    expect((await readAll(archive(entry({ name: "n", dialect: "gnu", over }))))[0]?.name).toBe("n");
  });

  test("gnu: long names and long links", async () => {
    const name = "n".repeat(300);
    const target = "t".repeat(300);
    const [link] = await readAll(
      archive(gnuLong("K", target), gnuLong("L", name), entry({ type: "2", dialect: "gnu" })),
    );
    expect(link).toMatchObject({ kind: "symlink", name, linkName: target });
  });

  test("pax: names, owners and sizes go before the header's", async () => {
    const records = [
      ["path", "päth".repeat(50)],
      ["uid", "3000000000"],
      ["gid", "7"],
      ["size", "3"],
      ["mtime", "1.5"],
      ["comment", "nothing"],
    ] as const;
    const [file] = await readAll(archive(pax(records), entry({ size: 0, uid: 1 }), padded(Buffer.from("abc"))));
    expect(file).toMatchObject({ name: "päth".repeat(50), uid: 3_000_000_000, gid: 7 });
    expect((await contentOf(file as never)).toString()).toBe("abc");
  });

  test("pax: a link's target, and a value of nothing is no value", async () => {
    const records = [["linkpath", "far/away"] as const, ["path", ""] as const];
    expect((await readAll(archive(pax(records), entry({ name: "l", type: "2", linkName: "x" }))))[0]).toMatchObject({
      name: "l",
      linkName: "far/away",
    });
  });

  test("pax: a global header may hold a comment", async () => {
    expect(await readAll(archive(pax([["comment", "0123"]], "g"), entry({})))).toHaveLength(1);
  });

  test("pax: extended attributes and ACLs are told", async () => {
    const records = [
      ["SCHILY.xattr.security.capability", "\x01\0\0\x02"],
      ["LIBARCHIVE.xattr.user.x", "eA=="],
      ["SCHILY.acl.access", "user::rw-"],
    ] as const;
    expect((await readAll(archive(pax(records), entry({}))))[0]?.xattrs).toEqual([
      "acl.access",
      "security.capability",
      "user.x",
    ]);
  });

  test("names are bytes, whatever they mean", async () => {
    expect((await readAll(archive(entry({ name: "\xff\xfe\x80" }))))[0]?.name).toBe("\xff\xfe\x80");
  });

  test.each([
    ["3", "character-device"],
    ["4", "block-device"],
    ["5", "directory"],
    ["6", "fifo"],
    ["7", "file"],
    ["1", "hard-link"],
  ])("type %s is a %s", async (type, kind) => {
    const [found] = await readAll(archive(entry({ type, major: 5, minor: 1, linkName: "x" })));
    expect(found?.kind).toBe(kind);
    expect(found?.device).toEqual(kind.endsWith("device") ? { major: 5, minor: 1 } : { major: 0, minor: 0 });
  });

  test("modes: setuid, setgid and sticky stay, a repeated file type goes", async () => {
    expect((await readAll(archive(entry({ mode: 0o107755 }))))[0]?.mode).toBe(0o7755);
  });

  test("base-256 numbers, numbers with spaces, and none", async () => {
    const uid = "\x80\0\0\0\xff\xff\xff\xff";
    expect((await readAll(archive(entry({ over: [[108, uid]] }))))[0]?.uid).toBe(0xffff_ffff);
    expect((await readAll(archive(entry({ uid: "   17 \0", gid: "\0" }))))[0]).toMatchObject({ uid: 0o17, gid: 0 });
  });

  test("an old archiver's sum of signed bytes", async () => {
    expect(await readAll(archive(entry({ name: "\xe4", checksum: "signed" })))).toHaveLength(1);
  });

  test("zeros up to any length follow the end", async () => {
    expect(await readAll(Buffer.concat([archive(entry({})), Buffer.alloc(200_000)]))).toHaveLength(1);
  });
});

describe("refusals", () => {
  const big = "1".repeat(400_000);
  const cases: readonly [string, string, Buffer][] = [
    ["TAR_TRUNCATED", "nothing at all", Buffer.alloc(0)],
    ["TAR_TRUNCATED", "no end", entry({})],
    ["TAR_TRUNCATED", "one zero block", Buffer.concat([entry({}), Buffer.alloc(512)])],
    ["TAR_TRUNCATED", "cut in a header", entry({}).subarray(0, 300)],
    ["TAR_TRUNCATED", "cut in the data", header({ size: 600 })],
    ["TAR_TRUNCATED", "a size beyond everything", archive(header({ size: "77777777777\0" }))],
    [
      "TAR_TRUNCATED",
      "a size of 2^53-1",
      archive(header({ over: [[124, "\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff"]] })),
    ],
    ["TAR_TRUNCATED", "an extended header cut off", header({ type: "x", size: 600 })],
    ["TAR_TRAILING_BYTES", "a second archive", Buffer.concat([archive(entry({})), archive(entry({}))])],
    ["TAR_TRAILING_BYTES", "one zero block between entries", archive(entry({}), Buffer.alloc(512), entry({}))],
    ["TAR_CHECKSUM", "a wrong sum", archive(entry({ checksum: "wrong" }))],
    ["TAR_CHECKSUM", "no tar at all", Buffer.alloc(2048, "text ")],
    ["TAR_NUMBER", "a digit 8", archive(entry({ uid: "0000008\0" }))],
    ["TAR_NUMBER", "a negative base-256", archive(header({ over: [[124, Buffer.alloc(12, 0xff)]] }))],
    ["TAR_NUMBER", "a base-256 of 2^64", archive(header({ over: [[124, "\x80\0\0\x01\0\0\0\0\0\0\0\0"]] }))],
    ["TAR_NUMBER", "a mode that is text", archive(entry({ mode: "rw-r--\0" }))],
    ["TAR_TYPE", "a volume label", archive(entry({ type: "V" }))],
    ["TAR_TYPE", "another volume's rest", archive(entry({ type: "M" }))],
    ["TAR_TYPE", "Solaris's extended header", archive(entry({ type: "X" }))],
    ["TAR_TYPE", "a type that is no letter", archive(entry({ type: "\xff" }))],
    ["TAR_TYPE", "a type named like an object's property", archive(entry({ type: "_" }))],
    ["TAR_SIZE", "a hard link with a size", archive(entry({ type: "1", linkName: "x" }, "data"))],
    ["TAR_SIZE", "a folder with a size", archive(entry({ type: "5" }, "data"))],
    ["TAR_SIZE", "a v7 folder with a size", archive(entry({ type: "\0", name: "d/", dialect: "v7" }, "data"))],
    ["TAR_SIZE", "a link with a PAX size", archive(pax([["size", "5"]]), entry({ type: "2", linkName: "x" }))],
    ["TAR_EXTENSION", "an extended header at the end", archive(pax([["path", "x"]]))],
    ["TAR_EXTENSION", "two PAX headers", archive(pax([["path", "x"]]), pax([["path", "y"]]), entry({}))],
    ["TAR_EXTENSION", "two long names", archive(gnuLong("L", "a"), gnuLong("L", "b"), entry({}))],
    ["TAR_EXTENSION", "two long links", archive(gnuLong("K", "a"), gnuLong("K", "b"), entry({}))],
    [
      "TAR_EXTENSION",
      "a key twice",
      archive(
        pax([
          ["path", "x"],
          ["path", "y"],
        ]),
        entry({}),
      ),
    ],
    ["TAR_EXTENSION", "a global path", archive(pax([["path", "x"]], "g"), entry({}))],
    ["TAR_EXTENSION", "no length", archive(entry({ type: "x" }, "path=x\n"), entry({}))],
    ["TAR_EXTENSION", "a length of 0", archive(entry({ type: "x" }, "0 path=x\n"), entry({}))],
    ["TAR_EXTENSION", "a length with a sign", archive(entry({ type: "x" }, "+9 path=x\n"), entry({}))],
    ["TAR_EXTENSION", "a length beyond the end", archive(entry({ type: "x" }, "99 path=x\n"), entry({}))],
    ["TAR_EXTENSION", "a length too short", archive(entry({ type: "x" }, "2 path=x\n"), entry({}))],
    ["TAR_EXTENSION", "no newline", archive(entry({ type: "x" }, "10 path=xyz"), entry({}))],
    ["TAR_EXTENSION", "no key", archive(entry({ type: "x" }, "5 =x\n"), entry({}))],
    ["TAR_EXTENSION", "a size that is no number", archive(pax([["size", "-1"]]), entry({}))],
    ["TAR_EXTENSION", "a uid over 2^53", archive(pax([["uid", "9999999999999999"]]), entry({}))],
    ["TAR_EXTENSION", "a header of 1.2 MB", archive(pax([["comment", big + big + big]]), entry({}))],
    ["OWNER_OUT_OF_RANGE", "a uid of 33 bits", archive(pax([["uid", "4294967296"]]), entry({}))],
  ];

  test.each(cases)("%s: %s", async (code, _what, bytes) => {
    await expect(readAll(bytes)).rejects.toMatchObject({ name: "ImageError", code });
  });

  test("TOO_MANY_ENTRIES: by number and by the length of names", async () => {
    const two = archive(entry({ name: "a" }), entry({ name: "b" }));
    await expect(readAll(two, { maxEntries: 2 })).resolves.toHaveLength(2);
    await expect(readAll(two, { maxEntries: 1 })).rejects.toMatchObject({ code: "TOO_MANY_ENTRIES" });
    await expect(readAll(two, { maxNameBytes: 1 })).rejects.toMatchObject({ code: "TOO_MANY_ENTRIES" });
  });
});

describe("sparse files", () => {
  /** 4 KiB of nothing but "ab" at 1024 and "c" at the end. */
  const expected = Buffer.alloc(4096);
  expected.write("ab", 1024);
  expected.write("c", 4095);
  const octal = (value: number): string => `${value.toString(8).padStart(11, "0")}\0`;
  const segments = (pairs: readonly (readonly [number, number])[]): string =>
    pairs.map(([at, size]) => octal(at) + octal(size)).join("");

  const gnu = archive(
    entry(
      {
        type: "S",
        dialect: "gnu",
        over: [
          [
            386,
            segments([
              [1024, 2],
              [4095, 1],
            ]),
          ],
          [483, octal(4096)],
        ],
      },
      "abc",
    ),
    entry({ name: "next" }),
  );
  const extension = Buffer.alloc(512);
  extension.write(segments([[4095, 1]]), 0, "latin1");
  const gnuExtended = archive(
    header({
      type: "S",
      dialect: "gnu",
      size: 3,
      over: [
        [
          386,
          segments([
            [0, 0],
            [8, 0],
            [16, 0],
            [1024, 2],
          ]),
        ],
        [482, "\x01"],
        [483, octal(4096)],
      ],
    }),
    extension,
    padded(Buffer.from("abc")),
    entry({ name: "next" }),
  );
  const sparse00 = archive(
    entry(
      { type: "x" },
      [
        ["GNU.sparse.size", "4096"],
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.offset", "1024"],
        ["GNU.sparse.numbytes", "2"],
        ["GNU.sparse.offset", "4095"],
        ["GNU.sparse.numbytes", "1"],
      ]
        .map(([key, value]) => `${` ${key}=${value}\n`.length + 2} ${key}=${value}\n`)
        .join(""),
    ),
    entry({}, "abc"),
    entry({ name: "next" }),
  );
  const sparse01 = archive(
    pax([
      ["GNU.sparse.size", "4096"],
      ["GNU.sparse.map", "1024,2,4095,1"],
      ["GNU.sparse.name", "file"],
    ]),
    entry({ name: "GNUSparseFile.1/file" }, "abc"),
    entry({ name: "next" }),
  );
  const version10 = [
    ["GNU.sparse.major", "1"],
    ["GNU.sparse.minor", "0"],
    ["GNU.sparse.name", "file"],
    ["GNU.sparse.realsize", "4096"],
  ] as const;
  const map10 = Buffer.alloc(512);
  map10.write("2\n1024\n2\n4095\n1\n");
  const sparse10 = archive(
    pax(version10),
    entry({ name: "GNUSparseFile.1/file" }, Buffer.concat([map10, Buffer.from("abc")])),
    entry({ name: "next" }),
  );

  test.each([
    ["GNU's own", gnu],
    ["GNU's own, with a second block", gnuExtended],
    ["PAX 0.0", sparse00],
    ["PAX 0.1", sparse01],
    ["PAX 1.0", sparse10],
  ])("%s is expanded", async (_name, bytes) => {
    const [file, next] = await readAll(bytes);
    expect(file?.name).toBe("file");
    expect((await contentOf(file as never)).equals(expected)).toBe(true);
    expect(next?.name).toBe("next");
  });

  const sparse = (map: string, size = "4096", data = "abc"): Buffer =>
    archive(
      pax([
        ["GNU.sparse.size", size],
        ["GNU.sparse.map", map],
      ]),
      entry({}, data),
    );
  const sparse1 = (map: string, data = ""): Buffer => {
    const block = Buffer.alloc(512);
    block.write(map);
    return archive(pax(version10), entry({}, Buffer.concat([block, Buffer.from(data)])));
  };

  test.each([
    ["segments overlap", sparse("0,2,1,1")],
    ["segments out of order", sparse("9,2,1,1")],
    ["a segment beyond the end", sparse("4095,3")],
    ["more data than segments", sparse("0,2")],
    ["fewer data than segments", sparse("0,9")],
    ["an offset without a size", sparse("0,3,9")],
    ["no number", sparse("0,x")],
    ["a number over 2^53", sparse("9999999999999999,3")],
    ["no size", archive(pax([["GNU.sparse.map", "0,3"]]), entry({}, "abc"))],
    ["an unknown version", archive(pax([["GNU.sparse.major", "2"]]), entry({}, "abc"))],
    ["star's", archive(pax([["SCHILY.realsize", "4096"]]), entry({}, "abc"))],
    ["1.0: a map without an end", sparse1("2\n1\n".padEnd(512, "1"))],
    ["1.0: a number without an end", sparse1("1".repeat(512))],
    ["1.0: a billion segments", sparse1("1000000000\n")],
    ["0.1: too many segments", sparse(Array.from({ length: 65_537 }, (_, at) => `${at},0`).join(","), "99999", "")],
  ])("TAR_SPARSE: %s", async (_what, bytes) => {
    await expect(readAll(bytes)).rejects.toMatchObject({ name: "ImageError", code: "TAR_SPARSE" });
  });

  test("a file that is one hole of 1 TiB counts as what it would take", async () => {
    const hole = archive(
      pax([
        ["GNU.sparse.size", String(2 ** 40)],
        ["GNU.sparse.numblocks", "0"],
      ]),
      entry({}),
    );
    await expect(readAll(hole)).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
    expect((await readAll(hole, { maxBytes: 2 ** 41 }))[0]?.content.sizeBytes).toBe(2 ** 40);
  });

  test("segments count as entries: they are kept", async () => {
    const many = sparse(Array.from({ length: 10 }, (_, at) => `${at * 2},0`).join(","), "4096", "");
    await expect(readAll(many, { maxEntries: 11 })).resolves.toHaveLength(1);
    await expect(readAll(many, { maxEntries: 10 })).rejects.toMatchObject({ code: "TOO_MANY_ENTRIES" });
  });

  test("a map cut off", async () => {
    const cut = header({ type: "S", dialect: "gnu", over: [[482, "\x01"]] });
    await expect(readAll(cut)).rejects.toMatchObject({ code: "TAR_TRUNCATED" });
  });
});

describe("any bytes", () => {
  const valid = archive(
    gnuLong("L", "long/name"),
    entry({ dialect: "gnu" }, "content"),
    pax([
      ["path", "other"],
      ["SCHILY.xattr.user.x", "y"],
    ]),
    entry({ name: "d/", type: "5" }),
    entry(
      {
        type: "S",
        dialect: "gnu",
        over: [
          [386, "00000000000\x0000000000003\0"],
          [483, "00000000010\0"],
        ],
      },
      "abc",
    ),
  );

  test("are read or refused by a code, never with another error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(valid.length),
        fc.boolean(),
        async (changes, cut, resum) => {
          const bytes = Buffer.from(valid);
          for (const [at, value] of changes) bytes[at] = value;
          if (resum) for (const at of [0, 1024, 2048, 3072, 3584]) resumHeader(bytes, at);
          try {
            for (const found of await readAll(bytes.subarray(0, cut % 3 === 0 ? cut : bytes.length)))
              await contentOf(found);
          } catch (error) {
            expect(error).toBeInstanceOf(ImageError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** So that changes reach what comes behind the checksum. */
function resumHeader(bytes: Buffer, at: number): void {
  const block = bytes.subarray(at, at + 512);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
}
