/** Ramdisks as the kernel unpacks them, whoever wrote them. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bytesSource,
  compressionOf,
  EifError,
  type RamdiskLimits,
  ramdiskEntries,
  ramdiskFiles,
  summarizeRamdisk,
} from "../../eif/index.ts";
import { cpio, cpioEntry } from "./images.ts";

type Listed = readonly [name: string, data: string];

async function list(bytes: Uint8Array, limits?: RamdiskLimits, chunkBytes = bytes.length): Promise<Listed[]> {
  const source = {
    sizeBytes: bytes.length,
    // The chunk's memory is written over each time, as that of a file is.
    async *chunks() {
      const chunk = new Uint8Array(Math.max(chunkBytes, 1));
      for (let at = 0; at < bytes.length; at += chunk.length) {
        chunk.fill(0xee);
        const part = bytes.subarray(at, at + chunk.length);
        chunk.set(part);
        yield chunk.subarray(0, part.length);
      }
    },
  };
  const found: Listed[] = [];
  for await (const entry of ramdiskEntries(source, limits)) {
    const pieces: Buffer[] = [];
    for await (const piece of entry.data()) pieces.push(Buffer.from(piece));
    found.push([entry.name, Buffer.concat(pieces).toString("latin1")]);
  }
  return found;
}

async function codeOf(bytes: Uint8Array, limits?: RamdiskLimits): Promise<string> {
  try {
    return JSON.stringify(await list(bytes, limits));
  } catch (error) {
    if (error instanceof EifError) return error.code;
    throw error;
  }
}

const directory = (name: string) => cpioEntry(name, "", { mode: 0o40755 });
const ENTRIES = [directory("dev"), cpioEntry("init", "hello"), cpioEntry("etc/x", "odd")] as const;
const LISTED: readonly Listed[] = [
  ["dev", ""],
  ["init", "hello"],
  ["etc/x", "odd"],
];
const RAW = cpio(...ENTRIES);

/** One entry by the hand: 13 fields of 8 hex digits, name with NUL to a multiple of 4, data to a multiple of 4. */
const BY_HAND = Buffer.from(
  "070701" +
    "000002d1000081ed00000000000003e80000000158f7e4f400000003" +
    "0000000300000001" +
    "0000000000000000" +
    "0000000500000000" +
    "init\0\0" +
    "abc\0" +
    `070701${"0".repeat(88)}0000000b00000000TRAILER!!!\0\0\0\0`,
  "latin1",
);

test("an archive written by hand", async () => {
  const [entry] = await ramdiskFiles(bytesSource(BY_HAND));
  expect(entry).toEqual([
    "init",
    {
      kind: "file",
      permissions: 0o755,
      uid: 0,
      gid: 1000,
      mtimeSeconds: 0x58f7e4f4,
      sizeBytes: 3,
      device: "",
      contentSha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    },
  ]);
});

describe.each([1, 3, 110, 4096])("in chunks of %i bytes", (size) => {
  test.each([
    ["raw", RAW, LISTED],
    ["gzip", gzipSync(RAW), LISTED],
    ["zstd", zstdCompressSync(RAW), LISTED],
    ["padded to 512, as linuxkit does", Buffer.concat([RAW, Buffer.alloc(512 - (RAW.length % 512))]), LISTED],
    ["two archives", Buffer.concat([RAW, RAW]), [...LISTED, ...LISTED]],
    ["two archives with zeros between", Buffer.concat([RAW, Buffer.alloc(8), RAW]), [...LISTED, ...LISTED]],
    ["a raw archive, then a compressed one", Buffer.concat([RAW, zstdCompressSync(RAW)]), [...LISTED, ...LISTED]],
    ["two zstd frames", Buffer.concat([zstdCompressSync(RAW), zstdCompressSync(RAW)]), [...LISTED, ...LISTED]],
    ["two gzip members", Buffer.concat([gzipSync(RAW), gzipSync(RAW)]), [...LISTED, ...LISTED]],
    ["two archives in one frame", zstdCompressSync(Buffer.concat([RAW, Buffer.alloc(4), RAW])), [...LISTED, ...LISTED]],
    ["nothing", new Uint8Array(0), []],
    ["zeros", new Uint8Array(100), []],
  ])("%s", async (_, bytes, listed) => {
    expect(await list(bytes, {}, size)).toEqual(listed);
  });
});

test("what linuxkit writes: names that end in a slash, a directory twice, upper-case digits, hard links, devices", async () => {
  const upper = Buffer.from(
    cpioEntry("f", "0123456789abcdef", { ino: 0xabcd }).toString("latin1").replace("0000abcd", "0000ABCD"),
    "latin1",
  );
  const archive = cpio(
    directory("rootfs/"),
    directory("rootfs"),
    cpioEntry("rootfs/dev/null", "", { mode: 0o20666, rdev: [1, 3] }),
    cpioEntry("./rootfs//bin/sh", "busybox", { mode: 0o120777 }),
    upper,
  );
  expect((await list(archive)).map(([name]) => name)).toEqual([
    "rootfs",
    "rootfs",
    "rootfs/dev/null",
    "rootfs/bin/sh",
    "f",
  ]);
  const files = await ramdiskFiles(bytesSource(archive));
  expect(files.get("rootfs/dev/null")).toMatchObject({ kind: "character device", device: "1:3" });
  expect(files.get("rootfs/bin/sh")).toMatchObject({ kind: "symlink", sizeBytes: 7 });
  expect(await summarizeRamdisk(bytesSource(archive))).toEqual({ entries: 5, files: 1, dataBytes: 23, specials: 1 });
});

describe("what follows gzip", () => {
  const gzip = gzipSync(RAW);
  test.each([
    ["zeros", Buffer.concat([gzip, Buffer.alloc(509)]), LISTED],
    ["zeros and an archive", Buffer.concat([gzip, Buffer.alloc(4), RAW]), [...LISTED, ...LISTED]],
    ["zeros and gzip", Buffer.concat([gzip, gzip, Buffer.alloc(3), gzip]), [...LISTED, ...LISTED, ...LISTED]],
    ["zeros and zstd", Buffer.concat([gzip, Buffer.alloc(1), zstdCompressSync(RAW)]), [...LISTED, ...LISTED]],
  ])("%s", async (_, bytes, listed) => {
    expect(await list(bytes)).toEqual(listed);
  });

  test("is never hidden, wherever a chunk ends: it is read or refused", async () => {
    const bytes = Buffer.concat([gzip, Buffer.alloc(4), RAW]);
    for (let size = 1; size <= bytes.length; size += 1) {
      const outcome = await list(bytes, {}, size).catch((error: EifError) => error.code);
      if (outcome !== "RAMDISK_CORRUPT") expect(outcome, `chunks of ${size}`).toEqual([...LISTED, ...LISTED]);
    }
  });

  test("and is no archive is refused", async () => {
    expect(await codeOf(Buffer.concat([gzip, Buffer.alloc(4), Buffer.from("junk")]))).toBe(
      "RAMDISK_COMPRESSION_UNSUPPORTED",
    );
  });
});

test("padding that is not zero is passed over, as by the kernel", async () => {
  const bytes = Buffer.from(RAW);
  bytes.write("xx", RAW.indexOf("dev\0") + 4, "latin1");
  expect(await list(bytes)).toEqual(LISTED);
});

test("of a name that occurs twice the last counts", async () => {
  const files = await ramdiskFiles(bytesSource(cpio(cpioEntry("a", "1"), cpioEntry("a", "22"))));
  expect([...files].map(([name, { sizeBytes }]) => [name, sizeBytes])).toEqual([["a", 2]]);
});

test("names that differ in bytes stay different, and end at the first NUL as for the kernel", async () => {
  const broken = (bytes: number[]) => {
    const entry = cpioEntry("name", "");
    entry.set(bytes, 110);
    return entry;
  };
  expect(
    (
      await list(
        cpio(broken([0x61, 0xff, 0x62, 0x63]), broken([0x61, 0xfe, 0x62, 0x63]), broken([0x61, 0, 0x62, 0x63])),
      )
    ).map(([name]) => name),
  ).toEqual(["a\\xffbc", "a\\xfebc", "a"]);
});

describe("refused", () => {
  const patched = (at: number, text: string) => {
    const bytes = Buffer.from(RAW);
    bytes.write(text, at, "latin1");
    return bytes;
  };
  test.each([
    ["what is no archive", "RAMDISK_COMPRESSION_UNSUPPORTED", Buffer.from("ELF")],
    ["xz", "RAMDISK_COMPRESSION_UNSUPPORTED", Buffer.from("fd377a585a00", "hex")],
    ["lz4", "RAMDISK_COMPRESSION_UNSUPPORTED", Buffer.from("02214c18", "hex")],
    ["the old cpio format", "RAMDISK_MALFORMED", patched(0, "070707")],
    ["a digit that is none", "RAMDISK_MALFORMED", patched(20, "x")],
    ["a sign where a digit belongs", "RAMDISK_MALFORMED", patched(14, "-0000001")],
    ["a name of no bytes", "RAMDISK_MALFORMED", patched(94, "00000000")],
    ["a name of 4097 bytes", "RAMDISK_MALFORMED", patched(94, "00001001")],
    ["a name of 4 GiB", "RAMDISK_MALFORMED", patched(94, "ffffffff")],
    ["a name without its NUL", "RAMDISK_MALFORMED", patched(94, "00000003")],
    ["a file of 4 GiB that is not there", "RAMDISK_TRUNCATED", patched(54, "ffffffff")],
    ["a trailer with data", "RAMDISK_MALFORMED", Buffer.concat([cpioEntry("TRAILER!!!", "data")])],
    ["no trailer", "RAMDISK_TRUNCATED", Buffer.concat(ENTRIES)],
    ["compressed data in compressed data", "RAMDISK_MALFORMED", zstdCompressSync(zstdCompressSync(RAW))],
    ["gzip that is cut", "RAMDISK_CORRUPT", gzipSync(RAW).subarray(0, -9)],
    [
      "gzip with another checksum",
      "RAMDISK_CORRUPT",
      Buffer.concat([gzipSync(RAW).subarray(0, -8), Buffer.alloc(8, 1)]),
    ],
    ["zstd that is cut", "RAMDISK_TRUNCATED", zstdCompressSync(RAW).subarray(0, -1)],
    ["zstd with a reserved block type", "RAMDISK_CORRUPT", Buffer.from("28b52ffd2000070000", "hex")],
    ["zstd whose blocks are nonsense", "RAMDISK_CORRUPT", Buffer.from("28b52ffd20ff250000ffffffff", "hex")],
  ])("%s", async (_, code, bytes) => {
    expect(await codeOf(bytes)).toBe(code);
  });

  test("an archive that is cut off anywhere, raw or compressed", async () => {
    // The last three bytes are padding, which nobody misses.
    for (const whole of [RAW.subarray(0, -3), zstdCompressSync(RAW)]) {
      for (let length = 1; length < whole.length; length += 1) {
        expect(await codeOf(whole.subarray(0, length)), `${length} bytes`).toMatch(/^RAMDISK_/);
      }
    }
  });

  test("what unpacks to far more than its size: nothing of it is held", async () => {
    const zeros = Buffer.concat([cpioEntry("zeros", Buffer.alloc(2 ** 27)), cpio()]);
    const bomb = zstdCompressSync(zeros);
    expect(bomb.length).toBeLessThan(64 * 1024);
    expect(await codeOf(bomb)).toBe("RAMDISK_TOO_LARGE");
    expect(await codeOf(gzipSync(RAW), { maxUnpackedBytes: RAW.length - 1 })).toBe("RAMDISK_TOO_LARGE");
    expect(await codeOf(gzipSync(RAW), { maxUnpackedBytes: RAW.length })).toBe(JSON.stringify(LISTED));
    const summary = await summarizeRamdisk(
      bytesSource(zstdCompressSync(cpio(cpioEntry("zeros", Buffer.alloc(2 ** 20))))),
    );
    expect(summary.dataBytes).toBe(2 ** 20);
  });

  describe("much of nothing, which costs time and yields no entry", () => {
    const emptyFrame = Buffer.from("28b52ffd2000010000", "hex");
    const many = (count: number, bytes: Uint8Array) => Buffer.concat(Array.from({ length: count }, () => bytes));
    test.each([
      ["empty zstd frames", many(4097, emptyFrame), many(4096, emptyFrame)],
      ["archives of a trailer alone", many(4097, cpio()), many(4096, cpio())],
      // The member that holds them counts as well.
      ["the same in one gzip member", gzipSync(many(4096, cpio())), gzipSync(many(4095, cpio()))],
      ["the same in one zstd frame", zstdCompressSync(many(4096, cpio())), zstdCompressSync(many(4095, cpio()))],
      ["a trailer in each of many frames", many(2049, zstdCompressSync(cpio())), many(2048, zstdCompressSync(cpio()))],
    ])("%s", async (_, tooMany, most) => {
      expect(await codeOf(tooMany)).toBe("RAMDISK_TOO_LARGE");
      expect(await codeOf(most)).toBe("[]");
    });

    test("a hundred thousand empty frames are given up at the limit", async () => {
      let read = 0;
      const frames = many(100_000, emptyFrame);
      const source = {
        sizeBytes: frames.length,
        async *chunks() {
          for (; read < frames.length; read += 900) yield frames.subarray(read, read + 900);
        },
      };
      await expect(summarizeRamdisk(source)).rejects.toMatchObject({ code: "RAMDISK_TOO_LARGE" });
      expect(read).toBeLessThan(4200 * emptyFrame.length);
    });

    test("empty blocks in one frame", async () => {
      const frameOf = (blocks: number) =>
        Buffer.concat([
          Buffer.from("28b52ffd2000", "hex"),
          many(blocks - 1, new Uint8Array(3)),
          Buffer.from("010000", "hex"),
        ]);
      expect(await codeOf(frameOf(10), { maxBlocks: 9 })).toBe("RAMDISK_TOO_LARGE");
      expect(await codeOf(frameOf(10), { maxBlocks: 10 })).toBe("[]");
      expect(await codeOf(frameOf(70_000))).toBe("RAMDISK_TOO_LARGE");
    });

    test("empty gzip members are Node's, and count as one", async () => {
      expect(await codeOf(many(20_000, gzipSync("")))).toBe("[]");
    });
  });

  test("more bytes of names than a limit", async () => {
    // "dev", "init" and "etc/x".
    expect(await codeOf(RAW, { maxNameBytes: 11 })).toBe("RAMDISK_TOO_LARGE");
    expect(await codeOf(RAW, { maxNameBytes: 12 })).toBe(JSON.stringify(LISTED));
    const long = Array.from({ length: 16_500 }, (_, at) => cpioEntry(`${at}-${"n".repeat(4080)}`));
    const packed = bytesSource(zstdCompressSync(cpio(...long)));
    // The unpacked size alone would be let through.
    const limits: RamdiskLimits = { maxUnpackedBytes: 2 ** 30 };
    await expect(ramdiskFiles(packed, limits)).rejects.toMatchObject({
      code: "RAMDISK_TOO_LARGE",
      message: expect.stringContaining("bytes of names"),
    });
  });

  test("more entries than a limit", async () => {
    expect(await codeOf(RAW, { maxEntries: 2 })).toBe("RAMDISK_TOO_LARGE");
    expect(await codeOf(RAW, { maxEntries: 3 })).toBe(JSON.stringify(LISTED));
  });
});

test.each([
  ["none", RAW],
  ["gzip", gzipSync(RAW)],
  ["zstd", zstdCompressSync(RAW)],
  ["xz", Buffer.from("fd377a585a00", "hex")],
  ["lz4", Buffer.from("02214c18", "hex")],
  ["bzip2", Buffer.from("BZh9")],
  ["lzma", Buffer.from("5d0000", "hex")],
  ["lzo", Buffer.from("894c5a4f", "hex")],
  ["unknown", new Uint8Array(0)],
])("compression is told by its magic: %s", async (compression, bytes) => {
  expect(await compressionOf(bytesSource(bytes))).toBe(compression);
});

test("whatever the bytes, an answer comes and only EifErrors do", async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.nat({ max: RAW.length - 1 }), fc.nat({ max: 255 }))
      .map(([at, byte]) => new Uint8Array(RAW).with(at, byte)),
    fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 255 })).map(([at, byte]) => {
      const frame = new Uint8Array(zstdCompressSync(RAW));
      return frame.with(at % frame.length, byte);
    }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (input) => {
      await codeOf(input);
    }),
    { numRuns: 500 },
  );
});
