/**
 * Fuzzes what reads enclave images, for a bounded time. What is looked for: anything thrown that is no EifError, and any
 * image without a problem that a second reader, which goes by the header's table as a loader may, reads or measures
 * otherwise.
 *
 *   node scripts/fuzz-eif.ts [--seconds N] [--seed N]
 */
import { createHash } from "node:crypto";
import { crc32, gzipSync, zstdCompressSync } from "node:zlib";
import type * as Eif from "../eif/index.ts";
import { fuzzAsync } from "./fuzz-engine.ts";
import { fuzzRunOf, loadInstrumented, report } from "./fuzz-run.ts";

const MAX_BYTES = 8 * 1024;
const HEADER_BYTES = 548;
const CRC_OFFSET = 544;

const METADATA =
  '{"ImageName":"a","ImageVersion":"1","BuildMetadata":{"BuildTime":"t","BuildTool":"b","BuildToolVersion":"1",' +
  '"OperatingSystem":"Linux","KernelVersion":"6"},"DockerInfo":null,"CustomMetadata":{"a":[1]}}';

const run = fuzzRunOf("fuzz-eif");
process.exitCode = await main();

async function main(): Promise<number> {
  const { seed, seconds } = run;
  const { program: eif, counters } = await loadInstrumented<typeof Eif>("eif/index.ts", "node");
  const bodies = await seedBodies(eif);
  const ramdisks = seedRamdisks();
  console.log(`fuzz-eif: seed ${seed}, ${seconds} s, ${counters.length} counters`);
  let inOrder = 0;
  const readImage = async (bytes: Uint8Array): Promise<void> => {
    if (await readBoth(eif, bytes)) inOrder += 1;
  };
  const targets = [
    // A file as it is, with a CRC that fits: the header is what is changed most.
    { name: "file", run: (input: Uint8Array) => readImage(withCrc(input)), seeds: bodies.map(withHeader) },
    // Sections under a header that fits them, so that what is in them is reached.
    { name: "sections", run: (input: Uint8Array) => readImage(withHeader(input)), seeds: bodies },
    { name: "ramdisk", run: (input: Uint8Array) => readRamdisk(eif, input), seeds: ramdisks },
  ];
  for (const { name, ...target } of targets) {
    const started = performance.now();
    const stop = () => performance.now() - started > (seconds * 1000) / targets.length;
    const result = await fuzzAsync({ ...target, counters, dictionary: dictionary(), maxBytes: MAX_BYTES, seed, stop });
    if (!report(run, name, result, performance.now() - started)) return 1;
  }
  console.log(`fuzz-eif: ${inOrder} images kept every rule, and the second reader read each of them the same`);
  // A run in which not even the unsigned seeds are in order would prove nothing.
  return inOrder >= 4 ? 0 : 1;
}

/** @returns Whether the image kept every rule. */
async function readBoth(eif: typeof Eif, bytes: Uint8Array): Promise<boolean> {
  const image = await refusedAsNull(eif, () => eif.inspectEifBytes(bytes));
  if (image === null) return false;
  JSON.stringify(eif.describeEif(image));
  for (const section of image.sections) {
    if (section.type === "ramdisk") await refusedAsNull(eif, () => eif.ramdiskFiles(image.source(section)));
  }
  if (image.problems.length > 0) return false;
  const other = measureByTable(bytes);
  same("PCR0", image.measurements?.PCR0, other.pcr0);
  same("PCR1", image.measurements?.PCR1, other.pcr1);
  same("PCR2", image.measurements?.PCR2, other.pcr2);
  same("end", bytes.length, other.end);
  return true;
}

async function readRamdisk(eif: typeof Eif, bytes: Uint8Array): Promise<void> {
  const files = await refusedAsNull(eif, () => eif.ramdiskFiles(eif.bytesSource(bytes)));
  if (files === null) return;
  for (const [name, { kind }] of files) {
    if (name.startsWith("/") || name.endsWith("/") || kind === undefined)
      throw new Error(`a name with slashes: ${name}`);
  }
}

/** A loader that trusts the header's table, in the plainest way. */
function measureByTable(bytes: Uint8Array) {
  const file = Buffer.from(bytes);
  const [all, boot, application] = [createHash("sha384"), createHash("sha384"), createHash("sha384")];
  let [ramdisks, end] = [0, HEADER_BYTES];
  for (let slot = 0; slot < file.readUInt16BE(26); slot += 1) {
    const from = Number(file.readBigUInt64BE(28 + 8 * slot));
    const data = file.subarray(from + 12, from + 12 + Number(file.readBigUInt64BE(284 + 8 * slot)));
    end = Math.max(end, from + 12 + data.length);
    const type = file.readUInt16BE(from);
    if (type < 1 || type > 3) continue;
    if (type === 3) ramdisks += 1;
    all.update(data);
    (type === 3 && ramdisks > 1 ? application : boot).update(data);
  }
  const pcr = (digest: Buffer) => createHash("sha384").update(Buffer.alloc(48)).update(digest).digest("hex");
  return { pcr0: pcr(all.digest()), pcr1: pcr(boot.digest()), pcr2: pcr(application.digest()), end };
}

async function refusedAsNull<T>(eif: typeof Eif, read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof eif.EifError) return null;
    throw error;
  }
}

function same(what: string, ours: unknown, theirs: unknown): void {
  if (ours !== theirs) throw new Error(`${what} is ${String(theirs)} for the second reader, ${String(ours)} for ours`);
}

function withCrc(input: Uint8Array): Uint8Array {
  if (input.length < HEADER_BYTES) return input;
  const file = Buffer.from(input);
  file.writeUInt32BE(crc32(file.subarray(HEADER_BYTES), crc32(file.subarray(0, CRC_OFFSET))), CRC_OFFSET);
  return file;
}

/** A header whose table names the sections of a body as far as they can be told. */
function withHeader(input: Uint8Array): Uint8Array {
  const [header, body] = [Buffer.alloc(HEADER_BYTES), Buffer.from(input)];
  header.write(".eif\u0000\u0004", 0, "latin1");
  let count = 0;
  for (let at = 0; at + 12 <= body.length && count < 32; count += 1) {
    const size = body.readBigUInt64BE(at + 4);
    header.writeBigUInt64BE(BigInt(HEADER_BYTES + at), 28 + 8 * count);
    header.writeBigUInt64BE(size, 284 + 8 * count);
    at = size > body.length ? body.length : at + 12 + Number(size);
  }
  header.writeUInt16BE(count, 26);
  return withCrc(Buffer.concat([header, body]));
}

function section(type: number, data: Uint8Array | string): Buffer {
  const bytes = Buffer.from(data);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(type, 0);
  head.writeBigUInt64BE(BigInt(bytes.length), 4);
  return Buffer.concat([head, bytes]);
}

/** Unsigned, in two orders, and with a signature that has the form of one and that nobody made. */
async function seedBodies(eif: typeof Eif): Promise<Uint8Array[]> {
  const [raw = "", packed = ""] = seedRamdisks();
  const usual = [section(1, "kernel"), section(2, "quiet"), section(5, METADATA)];
  const unsigned = Buffer.concat([...usual, section(3, raw), section(3, packed)]);
  const register = `a26e72656769737465725f696e646578006e72656769737465725f76616c75659830${"00".repeat(48)}`;
  const cose = Buffer.from(`8444a1013822a05852${register}5860${"11".repeat(96)}`, "hex");
  const integers = [...cose].map((byte) => (byte < 24 ? "" : "18") + byte.toString(16).padStart(2, "0"));
  const entry = `a2737369676e696e675f636572746966696361746581182d697369676e617475726598${cose.length.toString(16)}`;
  const signature = Buffer.from(`81${entry}${integers.join("")}`, "hex");
  const signed = Buffer.concat([unsigned, section(4, signature)]);
  if ((await eif.inspectEifBytes(withHeader(signed))).signature === null)
    throw new Error("the seed's signature is not read");
  const turned = Buffer.concat([...usual.slice(0, 2), section(3, ""), section(5, METADATA), section(3, packed)]);
  return [unsigned, turned, signed];
}

function seedRamdisks(): Uint8Array[] {
  const entry = (name: string, data: string, mode: string) => {
    const fields = [
      "1",
      mode,
      "0",
      "0",
      "1",
      "0",
      data.length.toString(16),
      "3",
      "1",
      "0",
      "0",
      (name.length + 1).toString(16),
      "0",
    ];
    const padded = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, "\0");
    return padded(`070701${fields.map((field) => field.padStart(8, "0")).join("")}${name}\0`) + padded(data);
  };
  const archive = Buffer.from(
    [
      entry("dev/", "", "41ed"),
      entry("init", "hello", "81ed"),
      entry("l", "init", "a1ff"),
      entry("TRAILER!!!", "", "0"),
    ].join(""),
    "latin1",
  );
  return [
    archive,
    zstdCompressSync(archive),
    gzipSync(archive),
    Buffer.concat([archive, Buffer.alloc(8), zstdCompressSync(archive)]),
  ];
}

function dictionary(): Uint8Array[] {
  const heads = [
    "000100000000000000000000",
    "000300000000000000000001",
    "0004",
    "0005",
    "ffffffffffffffff",
    "0000000000000224",
  ];
  const archives = ["303730373031", "28b52ffd", "1f8b0800", "fd377a585a00", "02214c18", "000000000000000b"];
  const cbor = ["81a2", "9830", "44a1013822", "5860", "18ff", "9f", "5852"];
  return [
    ...[...heads, ...archives, ...cbor].map((hex) => Buffer.from(hex, "hex")),
    ...[
      "TRAILER!!!\0",
      "../",
      '"BuildTool":',
      "-----BEGIN CERTIFICATE-----",
      "signing_certificate",
      "register_value",
    ].map((text) => Buffer.from(text)),
  ];
}
