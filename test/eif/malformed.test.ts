/** Images that break one rule, or several: each is named by its code, none crashes, hangs or is believed. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { EifError, type EifErrorCode, inspectEif, inspectEifBytes, readEif } from "../../eif/index.ts";
import {
  CMDLINE,
  image,
  KERNEL,
  METADATA,
  METADATA_PIECE,
  type Piece,
  pcr,
  piece,
  RAMDISK_0,
  RAMDISK_1,
  USUAL,
  withCrc,
} from "./images.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function codesOf(bytes: Uint8Array): Promise<string[]> {
  try {
    return (await inspectEifBytes(bytes)).problems.map(({ code }) => code);
  } catch (error) {
    if (error instanceof EifError) return [error.code];
    throw error;
  }
}

const SLOT_OFFSET = (slot: number) => 28 + 8 * slot;
const SLOT_SIZE = (slot: number) => 284 + 8 * slot;
const extraBytes = (count: number) => new Uint8Array(count);
const fill = piece("ramdisk", "");
const nested = (depth: number) => `${METADATA.slice(0, -5)}${"[".repeat(depth)}${"]".repeat(depth)}}`;
const withoutKey = (key: string) => JSON.stringify({ ...(JSON.parse(METADATA) as object), [key]: undefined });

/** What each image breaks, all of it, in the order in which it is found. */
const CORPUS: readonly (readonly [name: string, codes: readonly EifErrorCode[], bytes: Uint8Array])[] = [
  ["nothing at all", ["EIF_TOO_SHORT"], new Uint8Array(0)],
  ["half a header", ["EIF_TOO_SHORT"], image().subarray(0, 547)],
  ["another magic", ["BAD_MAGIC"], image(USUAL, { patch: (file) => file.setUint8(0, 0x2f) })],
  ["version 1", ["UNSUPPORTED_VERSION"], image(USUAL, { version: 1 })],
  ["version 5", ["UNSUPPORTED_VERSION"], image(USUAL, { version: 5 })],
  ["unknown header flags", ["UNKNOWN_FLAGS"], image(USUAL, { flags: 3 })],
  ["the highest header flag", ["UNKNOWN_FLAGS"], image(USUAL, { flags: 0x8000 })],
  ["a reserved field", ["RESERVED_NOT_ZERO"], image(USUAL, { patch: (file) => file.setUint16(24, 1) })],
  ["the unused field", ["RESERVED_NOT_ZERO"], image(USUAL, { patch: (file) => file.setUint32(540, 1) })],
  [
    "an offset in an unused slot",
    ["UNUSED_SLOT_NOT_ZERO"],
    image(USUAL, { patch: (file) => file.setUint8(SLOT_OFFSET(31), 1) }),
  ],
  [
    "a size in an unused slot",
    ["UNUSED_SLOT_NOT_ZERO"],
    image(USUAL, { patch: (file) => file.setUint8(SLOT_SIZE(6) - 1, 1) }),
  ],
  ["section flags", ["SECTION_FLAGS_NOT_ZERO"], image([{ ...KERNEL, flags: 1 }, ...USUAL.slice(1)])],

  ["a header and nothing else", ["NO_KERNEL", "NO_CMDLINE", "NO_RAMDISK", "NO_METADATA"], image([])],
  ["no kernel", ["NO_KERNEL"], image(USUAL.filter((one) => one !== KERNEL))],
  ["two kernels", ["TWO_KERNELS"], image([KERNEL, ...USUAL])],
  ["no command line", ["NO_CMDLINE"], image(USUAL.filter((one) => one !== CMDLINE))],
  ["two command lines", ["TWO_CMDLINES"], image([...USUAL, CMDLINE])],
  ["no ramdisk", ["NO_RAMDISK"], image([KERNEL, CMDLINE, METADATA_PIECE])],
  [
    "a ramdisk before the kernel",
    ["RAMDISK_BEFORE_KERNEL"],
    image([RAMDISK_0, KERNEL, CMDLINE, METADATA_PIECE, RAMDISK_1]),
  ],
  ["no metadata in version 4", ["NO_METADATA"], image([KERNEL, CMDLINE, RAMDISK_0])],
  ["two metadata sections", ["TWO_METADATA"], image([...USUAL, METADATA_PIECE])],
  [
    "section type 0",
    ["SECTION_TYPE_UNKNOWN"],
    image([KERNEL, CMDLINE, { type: 0, data: extraBytes(4) }, METADATA_PIECE, RAMDISK_0]),
  ],
  [
    "section type 6",
    ["SECTION_TYPE_UNKNOWN"],
    image([KERNEL, CMDLINE, { type: 6, data: extraBytes(4) }, METADATA_PIECE, RAMDISK_0]),
  ],
  ["section type 65535 at the end", ["SECTION_TYPE_UNKNOWN"], image([...USUAL, { type: 0xffff, data: extraBytes(0) }])],

  // Tables that say otherwise than the sections.
  [
    "the second section at the first's place",
    ["TABLE_OFFSET_MISMATCH"],
    image(USUAL, { patch: (file) => file.setBigUint64(SLOT_OFFSET(1), 548n) }),
  ],
  [
    "a section in the middle of another: overlap",
    ["TABLE_OFFSET_MISMATCH"],
    image(USUAL, { patch: (file) => file.setBigUint64(SLOT_OFFSET(1), 550n) }),
  ],
  [
    "an offset of 2^64 - 1",
    ["TABLE_OFFSET_MISMATCH"],
    image(USUAL, { patch: (file) => file.setBigUint64(SLOT_OFFSET(0), 2n ** 64n - 1n) }),
  ],
  ["two ramdisks exchanged in the table", ["TABLE_OFFSET_MISMATCH", "TABLE_OFFSET_MISMATCH"], swapped()],
  [
    "a size that is one too many",
    ["TABLE_SIZE_MISMATCH"],
    image(USUAL, { patch: (file) => file.setBigUint64(SLOT_SIZE(0), 7n) }),
  ],
  [
    "a size of 2^64 - 1 in the table",
    ["TABLE_SIZE_MISMATCH"],
    image(USUAL, { patch: (file) => file.setBigUint64(SLOT_SIZE(4), 2n ** 64n - 1n) }),
  ],
  [
    "a count that is one too few: a section that loaders do not see",
    ["UNUSED_SLOT_NOT_ZERO", "SECTION_COUNT_MISMATCH"],
    image(USUAL, { count: 4 }),
  ],
  ["a count that is one too many", ["SECTION_COUNT_MISMATCH"], image(USUAL, { count: 6 })],
  [
    "a count of 0",
    [...Array.from({ length: 5 }, () => "UNUSED_SLOT_NOT_ZERO" as const), "SECTION_COUNT_MISMATCH"],
    image(USUAL, { count: 0 }),
  ],
  ["a count of 33", ["TOO_MANY_SECTIONS", "SECTION_COUNT_MISMATCH"], image(USUAL, { count: 33 })],
  ["a count of 65535", ["TOO_MANY_SECTIONS", "SECTION_COUNT_MISMATCH"], image(USUAL, { count: 0xffff })],
  [
    "33 sections",
    ["TOO_MANY_SECTIONS", "TOO_MANY_SECTIONS"],
    image([...USUAL, ...Array.from({ length: 28 }, () => fill)]),
  ],
  [
    "33 sections, counted as 32",
    ["TOO_MANY_SECTIONS"],
    image([...USUAL, ...Array.from({ length: 28 }, () => fill)], { count: 32 }),
  ],

  // Sizes in section headers.
  [
    "a section of 2^64 - 1 bytes",
    ["SECTION_BEYOND_END"],
    image([{ ...KERNEL, size: 2n ** 64n - 1n }, ...USUAL.slice(1)]),
  ],
  ["a section of 2^63 bytes", ["SECTION_BEYOND_END"], image([...USUAL.slice(0, 4), { ...RAMDISK_1, size: 2n ** 63n }])],
  [
    "a section of 2^53 + 1 bytes",
    ["SECTION_BEYOND_END"],
    image([...USUAL.slice(0, 4), { ...RAMDISK_1, size: 2n ** 53n + 1n }]),
  ],
  [
    "a last section that claims one byte more",
    ["SECTION_BEYOND_END"],
    image([...USUAL.slice(0, 4), { ...RAMDISK_1, size: 13n }]),
  ],
  [
    "a last section that claims one byte less",
    ["TRAILING_BYTES", "TABLE_SIZE_MISMATCH"],
    image([...USUAL.slice(0, 4), { ...RAMDISK_1, size: 11n }]),
  ],
  ["one byte after the end", ["TRAILING_BYTES"], image(USUAL, { trailing: extraBytes(1) })],
  [
    "eleven bytes after the end, which AWS's library ignores",
    ["TRAILING_BYTES"],
    image(USUAL, { trailing: extraBytes(11) }),
  ],
  ["twelve zeros after the end", ["TRAILING_BYTES"], image(USUAL, { trailing: extraBytes(12) })],
  ["a kilobyte after the end", ["TRAILING_BYTES"], image(USUAL, { trailing: extraBytes(1024) })],
  [
    "a hidden ramdisk after the end",
    ["SECTION_COUNT_MISMATCH"],
    image(USUAL, { trailing: Buffer.from("000300000000000000000001aa", "hex") }),
  ],

  // Contents.
  ["a CRC that is not the file's", ["CRC_MISMATCH"], image(USUAL, { crc: 0 })],
  ["metadata that is no JSON", ["METADATA_NOT_JSON"], withMetadata("{")],
  ["metadata that is not UTF-8", ["METADATA_NOT_JSON"], withMetadata(Buffer.from([0x22, 0xff, 0x22]))],
  ["empty metadata", ["METADATA_NOT_JSON"], withMetadata("")],
  ["metadata with a byte order mark", ["METADATA_NOT_JSON"], withMetadata(`\ufeff${METADATA}`)],
  ["metadata that is a list", ["METADATA_SHAPE"], withMetadata("[]")],
  ["metadata without a name", ["METADATA_SHAPE"], withMetadata(withoutKey("ImageName"))],
  ["metadata without DockerInfo", ["METADATA_SHAPE"], withMetadata(withoutKey("DockerInfo"))],
  ["metadata whose name is a number", ["METADATA_SHAPE"], withMetadata(METADATA.replace('"app"', "1"))],
  [
    "metadata whose BuildMetadata is null",
    ["METADATA_SHAPE"],
    withMetadata(METADATA.replace(/"BuildMetadata":\{[^}]*\}/, '"BuildMetadata":null')),
  ],
  ["metadata nested a hundred thousand deep", ["METADATA_SHAPE"], withMetadata(nested(100_000))],
  ["metadata of more than a megabyte", ["METADATA_TOO_LARGE"], withMetadata(`${METADATA}${" ".repeat(2 ** 20)}`)],
  [
    "a command line of more than 4096 bytes",
    ["CMDLINE_TOO_LARGE"],
    image([KERNEL, piece("cmdline", "a".repeat(4097)), ...USUAL.slice(2)]),
  ],
  ["a signature that is no CBOR", ["SIGNATURE_MALFORMED"], image([...USUAL, piece("signature", "x")])],
  ["an empty signature", ["SIGNATURE_MALFORMED"], image([...USUAL, piece("signature", "")])],
  [
    "a signature of more than 32 KiB",
    ["SIGNATURE_TOO_LARGE"],
    image([...USUAL, piece("signature", extraBytes(32_769))]),
  ],
  [
    "two signatures",
    ["TWO_SIGNATURES", "SIGNATURE_MALFORMED"],
    image([...USUAL, piece("signature", ""), piece("signature", "")]),
  ],
  [
    "an old size of the signature in the table, as AWS's sign-eif leaves it",
    ["STALE_SIGNATURE_SIZE", "SIGNATURE_MALFORMED"],
    image([...USUAL, piece("signature", "x")], { patch: (file) => file.setBigUint64(SLOT_SIZE(5), 9n) }),
  ],
];

function withMetadata(data: string | Uint8Array): Uint8Array {
  return image([KERNEL, CMDLINE, piece("metadata", data), RAMDISK_0, RAMDISK_1]);
}

/** CRC right, sequential walk as reviewed, and a table that has the ramdisks the other way round. */
function swapped(): Uint8Array {
  return image(USUAL, {
    patch: (file) => {
      const [three, four] = [file.getBigUint64(SLOT_OFFSET(3)), file.getBigUint64(SLOT_OFFSET(4))];
      file.setBigUint64(SLOT_OFFSET(3), four);
      file.setBigUint64(SLOT_OFFSET(4), three);
    },
  });
}

test("the image that the corpus departs from breaks nothing", async () => {
  expect(await codesOf(image())).toEqual([]);
});

test.each(CORPUS)("%s", async (_, codes, bytes) => {
  expect(await codesOf(bytes)).toEqual(codes);
});

test("reading throws the first of them", async () => {
  const path = join(folder, "broken.eif");
  writeFileSync(path, image(USUAL, { flags: 2, crc: 0 }));
  await expect(readEif(path)).rejects.toMatchObject({ code: "UNKNOWN_FLAGS" });
  expect((await inspectEif(path)).problems.map(({ code }) => code)).toEqual(["UNKNOWN_FLAGS", "CRC_MISMATCH"]);
});

describe("cut off at every byte", () => {
  const whole = image();

  test("an image is refused, with its old CRC and with one that fits", async () => {
    for (let length = 0; length < whole.length; length += 1) {
      const cut = whole.subarray(0, length);
      expect(await codesOf(cut), `${length} bytes`).not.toEqual([]);
      if (length >= 548) expect(await codesOf(withCrc(cut)), `${length} bytes, CRC mended`).not.toEqual([]);
    }
  });

  test("and so is one with a byte more anywhere", async () => {
    for (let at = 548; at <= whole.length; at += 1) {
      const longer = withCrc(new Uint8Array([...whole.subarray(0, at), 0, ...whole.subarray(at)]));
      expect(await codesOf(longer), `a byte more at ${at}`).not.toEqual([]);
    }
  });
});

test("one bit changed anywhere is noticed by the CRC at least", async () => {
  const whole = image();
  for (let at = 0; at < whole.length; at += 1) {
    const changed = whole.with(at, (whole[at] ?? 0) ^ (1 << (at % 8)));
    expect(await codesOf(changed), `byte ${at}`).not.toEqual([]);
  }
});

test("whatever bytes follow a header, an answer comes and only EifErrors do", async () => {
  const header = image().subarray(0, 548);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (body, sections) => {
      const body2 = sections ? new Uint8Array([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.length & 0xff, ...body]) : body;
      const codes = await codesOf(withCrc(new Uint8Array([...header, ...body2])));
      expect(codes.length).toBeGreaterThan(0);
    }),
    { numRuns: 300 },
  );
});

test("a file of 64 MiB whose sections claim 2^64 bytes is read in flat memory", async () => {
  const path = join(folder, "large.eif");
  writeFileSync(path, image([{ ...KERNEL, size: 2n ** 64n - 1n }, ...USUAL.slice(1)]));
  truncateSync(path, 64 * 1024 ** 2);
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const eif = await inspectEif(path, {
    onProgress: () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    },
  });
  expect(eif.problems.map(({ code }) => code)).toEqual(["SECTION_BEYOND_END", "CRC_MISMATCH"]);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(16 * 1024 ** 2);
});

describe("tolerated", () => {
  test.each([
    ["version 2 without metadata", image([KERNEL, CMDLINE, RAMDISK_0], { version: 2 })],
    ["version 3 without metadata", image([KERNEL, CMDLINE, RAMDISK_0, RAMDISK_1], { version: 3 })],
    ["the flag of aarch64", image(USUAL, { flags: 1 })],
    ["32 sections", image([...USUAL, ...Array.from({ length: 27 }, () => fill)])],
    ["a ramdisk of no bytes at the end", image([...USUAL, fill])],
    ["a command line of 4096 bytes", image([KERNEL, piece("cmdline", "a".repeat(4096)), ...USUAL.slice(2)])],
    ["metadata with keys that we do not know", withMetadata(METADATA.replace("{", '{"More":[1],'))],
    ["metadata nested as deep as AWS's reader goes", withMetadata(nested(126))],
    ["metadata with whitespace", withMetadata(` ${METADATA}\n`)],
  ])("%s", async (_, bytes) => {
    expect(await codesOf(bytes)).toEqual([]);
  });

  test("the order in the file is the order of the measurement, whatever it is", async () => {
    const order: readonly Piece[] = [CMDLINE, KERNEL, RAMDISK_0, METADATA_PIECE, RAMDISK_1];
    const { measurements } = await inspectEifBytes(image(order));
    expect(measurements).toMatchObject({
      PCR0: pcr(CMDLINE.data, KERNEL.data, RAMDISK_0.data, RAMDISK_1.data),
      PCR1: pcr(CMDLINE.data, KERNEL.data, RAMDISK_0.data),
      PCR2: pcr(RAMDISK_1.data),
    });
    const late = await inspectEifBytes(image([KERNEL, RAMDISK_0, RAMDISK_1, METADATA_PIECE, CMDLINE]));
    expect(late.measurements).toMatchObject({
      PCR0: pcr(KERNEL.data, RAMDISK_0.data, RAMDISK_1.data, CMDLINE.data),
      PCR1: pcr(KERNEL.data, RAMDISK_0.data, CMDLINE.data),
      PCR2: pcr(RAMDISK_1.data),
    });
  });

  test("what AWS's tools would show of a broken image is shown, beside what is wrong with it", async () => {
    const eif = await inspectEifBytes(image(USUAL, { trailing: extraBytes(11), crc: 1 }));
    expect(eif.measurements?.PCR2).toBe(pcr(RAMDISK_1.data));
    expect(eif.problems.map(({ code }) => code)).toEqual(["TRAILING_BYTES", "CRC_MISMATCH"]);
  });
});
