/** Bytes written by hand from the description of the format (nitro.md 1.1 to 1.6), for reader and writer alike. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { combineCrc32 } from "../../eif/crc32.ts";
import {
  bytesSource,
  describeEif,
  type EifMetadata,
  fileSource,
  inspectEif,
  readEif,
  writeEif,
} from "../../eif/index.ts";
import { METADATA, pcr } from "./images.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One section header: type, flags, size. */
const METADATA_HEX = Buffer.from(METADATA).toString("hex");
const METADATA_BYTES = METADATA.length;
const u64 = (value: number) => value.toString(16).padStart(16, "0");

/** Kernel `KRN`, command line `a=b`, metadata, ramdisks `r0` and `r1!`: nothing is aligned. */
const GOLDEN = [
  "2e656966", // .eif
  "0004", // version
  "0000", // flags: x86_64
  "0000000040000000", // default memory, 1 GiB
  "0000000000000002", // default CPUs
  "0000", // reserved
  "0005", // sections
  ...[548, 563, 578, 590 + METADATA_BYTES, 604 + METADATA_BYTES].map(u64), // where section headers are
  "0000000000000000".repeat(27),
  ...[3, 3, METADATA_BYTES, 2, 3].map(u64), // sizes of the data
  "0000000000000000".repeat(27),
  "00000000", // unused
  "CRCCRCCR",
  "0001000000000000000000034b524e", // kernel
  "000200000000000000000003613d62", // command line
  `00050000${u64(METADATA_BYTES)}${METADATA_HEX}`,
  "0003000000000000000000027230", // ramdisk 0
  "000300000000000000000003723121", // ramdisk 1
].join("");

/** CRC-32/ISO-HDLC bit by bit: no table, no library. */
function crcOf(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

const withoutCrc = Buffer.from(GOLDEN.replace("CRCCRCCR", ""), "hex");
const golden = Buffer.from(GOLDEN.replace("CRCCRCCR", crcOf(withoutCrc).toString(16).padStart(8, "0")), "hex");

const metadata: EifMetadata = {
  imageName: "app",
  imageVersion: "1.0",
  build: {
    time: "2025-04-12T01:48:10.897579243+00:00",
    tool: "nitro-cli",
    toolVersion: "1.4.2",
    operatingSystem: "Linux",
    kernelVersion: "4.14.256",
  },
  dockerInfo: null,
  customMetadata: null,
};
const source = (text: string) => bytesSource(Buffer.from(text));
const parts = {
  architecture: "x86_64",
  kernel: source("KRN"),
  cmdline: "a=b",
  metadata,
  ramdisks: [source("r0"), source("r1!")],
} as const;

describe("an image written by hand", () => {
  const path = join(folder, "golden.eif");
  writeFileSync(path, golden);

  test("is read as it was meant", async () => {
    const eif = await readEif(path);
    expect(eif.sections).toEqual([
      { type: "kernel", headerOffset: 548, dataOffset: 560, sizeBytes: 3 },
      { type: "cmdline", headerOffset: 563, dataOffset: 575, sizeBytes: 3 },
      { type: "metadata", headerOffset: 578, dataOffset: 590, sizeBytes: METADATA_BYTES },
      { type: "ramdisk", headerOffset: 590 + METADATA_BYTES, dataOffset: 602 + METADATA_BYTES, sizeBytes: 2 },
      { type: "ramdisk", headerOffset: 604 + METADATA_BYTES, dataOffset: 616 + METADATA_BYTES, sizeBytes: 3 },
    ]);
    expect(eif.architecture).toBe("x86_64");
    expect(eif.cmdline).toBe("a=b");
    expect(eif.metadata).toEqual(metadata);
    expect(eif.crc32).toBe(crcOf(withoutCrc));
    expect(eif.measurements).toEqual({
      HashAlgorithm: "Sha384 { ... }",
      PCR0: pcr("KRNa=br0r1!"),
      PCR1: pcr("KRNa=br0"),
      PCR2: pcr("r1!"),
    });
  });

  test("is what the writer writes, and its measurements are those the reader makes", async () => {
    const out = join(folder, "written.eif");
    const measurements = await writeEif(out, parts);
    expect(readFileSync(out).toString("hex")).toBe(golden.toString("hex"));
    expect(measurements).toEqual((await readEif(path)).measurements);
  });

  test("is described with the keys of describe-eif, in their order", async () => {
    const described = describeEif(await inspectEif(path));
    expect(Object.keys(described)).toEqual([
      "EifVersion",
      "Measurements",
      "IsSigned",
      "CheckCRC",
      "ImageName",
      "ImageVersion",
      "Metadata",
    ]);
    expect(Object.keys(described.Metadata ?? {})).toEqual([
      "BuildTime",
      "BuildTool",
      "BuildToolVersion",
      "OperatingSystem",
      "KernelVersion",
      "DockerInfo",
    ]);
    expect(Object.keys(described.Measurements ?? {})).toEqual(["HashAlgorithm", "PCR0", "PCR1", "PCR2"]);
    expect(described).toMatchObject({ EifVersion: 4, IsSigned: false, CheckCRC: true, ImageName: "app" });
  });
});

describe("the writer", () => {
  test("sets the flag of aarch64 and the defaults that it is given", async () => {
    const out = join(folder, "arm.eif");
    await writeEif(out, { ...parts, architecture: "aarch64", defaultMemoryBytes: 5, defaultCpus: 7 });
    const bytes = readFileSync(out);
    expect(bytes.subarray(6, 26).toString("hex")).toBe("0001000000000000000500000000000000070000");
    expect((await readEif(out)).architecture).toBe("aarch64");
  });

  test("with one ramdisk, PCR1 is PCR0 and PCR2 that of nothing", async () => {
    const measurements = await writeEif(join(folder, "one.eif"), { ...parts, ramdisks: [source("r0")] });
    expect(measurements.PCR1).toBe(measurements.PCR0);
    // X("") of nitro.md section 9.
    expect(measurements.PCR2).toBe(
      "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a",
    );
  });

  const many = Array.from({ length: 29 }, () => source("r"));
  test.each([
    ["an empty kernel", { kernel: source("") }],
    ["a command line with a newline", { cmdline: "a=b\n" }],
    ["a command line that is empty", { cmdline: "" }],
    ["a command line that is not ASCII", { cmdline: "é" }],
    ["a command line that the kernel would cut", { cmdline: "a".repeat(2048) }],
    ["no ramdisk", { ramdisks: [] }],
    ["more ramdisks than there are places", { ramdisks: many }],
    ["a megabyte of metadata", { metadata: { ...metadata, imageName: "a".repeat(2 ** 20) } }],
  ])("refuses %s", async (_, wrong) => {
    const out = join(folder, "refused.eif");
    await expect(writeEif(out, { ...parts, ...wrong })).rejects.toMatchObject({ code: "INVALID_PARTS" });
  });

  test("takes as many ramdisks as there are places, and the longest command line", async () => {
    const out = join(folder, "most.eif");
    await writeEif(out, { ...parts, ramdisks: many.slice(1), cmdline: "a".repeat(2047) });
    expect((await readEif(out)).sections).toHaveLength(31);
  });

  test.each([
    ["more", 1],
    ["fewer", 5],
  ])("refuses a source that gives %s bytes than it said, and leaves nothing behind", async (_, sizeBytes) => {
    const before = readdirSync(folder);
    const ramdisk = { sizeBytes, chunks: source("123").chunks };
    const written = writeEif(join(folder, "changed.eif"), { ...parts, ramdisks: [ramdisk] });
    await expect(written).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
    expect(readdirSync(folder)).toEqual(before);
  });

  test("leaves what stood there where it fails", async () => {
    const out = join(folder, "kept.eif");
    writeFileSync(out, "kept");
    await expect(
      writeEif(out, { ...parts, ramdisks: [{ sizeBytes: 9, chunks: source("123").chunks }] }),
    ).rejects.toThrow();
    expect(readFileSync(out, "utf8")).toBe("kept");
  });

  test("reads parts from files", async () => {
    const path = join(folder, "kernel");
    writeFileSync(path, "KRN");
    const out = join(folder, "from-file.eif");
    await writeEif(out, { ...parts, kernel: await fileSource(path) });
    expect(readFileSync(out).equals(golden)).toBe(true);
  });

  test.each([["nowhere"], ["."]])("a source that is no file: %s", async (path) => {
    await expect(fileSource(join(folder, path))).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });

  test.skipIf(process.platform === "win32")("a pipe is no file, and nobody waits for its writer", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    await expect(inspectEif(path)).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
    rmSync(path);
  });

  test("a source that is changed between two readings is refused", async () => {
    const path = join(folder, "changing");
    writeFileSync(path, "KRN");
    const kernel = await fileSource(path);
    writeFileSync(path, "KRNKRN");
    await expect(writeEif(join(folder, "x.eif"), { ...parts, kernel })).rejects.toMatchObject({ code: "FILE_CHANGED" });
  });
});

test("two CRCs are joined into that of the whole", () => {
  const bytes = Uint8Array.from({ length: 4096 }, (_, at) => (at * 131) & 0xff);
  for (const cut of [0, 1, 543, 544, 4095, 4096]) {
    const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
    expect(combineCrc32(crcOf(a), crcOf(b), b.length)).toBe(crcOf(bytes));
  }
});
