/** Writes an image: the same parts give the same bytes, on any machine. */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { type ByteSource, bytesSource } from "./byte-source.ts";
import { combineCrc32 } from "./crc32.ts";
import { EifError } from "./errors.ts";
import {
  type Architecture,
  CRC_OFFSET,
  EIF_MAGIC,
  encodeHeader,
  encodeSectionHeader,
  FLAG_AARCH64,
  HEADER_BYTES,
  MAX_SECTIONS,
  type SectionType,
  WRITTEN_VERSION,
} from "./format.ts";
import { type Measurements, Measurer, measurementsOf } from "./measure.ts";
import { type EifMetadata, encodeMetadata, MAX_METADATA_BYTES } from "./metadata.ts";
import { signPcr0 } from "./sign-pcr0.ts";
import type { EifSigner } from "./signer.ts";

export interface EifParts {
  readonly architecture: Architecture;
  readonly kernel: ByteSource;
  /** Printable ASCII without a newline: one more byte would change PCR0 and PCR1. */
  readonly cmdline: string;
  readonly metadata: EifMetadata;
  /** One at least. PCR1 takes the first, PCR2 the others. */
  readonly ramdisks: readonly ByteSource[];
  readonly signer?: EifSigner;
  /** Informative: the launcher goes by its own options. What AWS's writer puts there is the default. */
  readonly defaultMemoryBytes?: number;
  readonly defaultCpus?: number;
}

const DEFAULT_MEMORY_BYTES = 1024 ** 3;
const DEFAULT_CPUS = 2;
/** The kernel's own limit for x86 and arm64 (COMMAND_LINE_SIZE) with its terminator. */
const MAX_CMDLINE_BYTES = 2047;

/**
 * Writes beside `out` and renames at the end: `out` is never half an image, and nothing is left where this throws.
 *
 * @throws {@link EifError} `INVALID_PARTS`, `SOURCE_CHANGED`, and what signing throws.
 */
export async function writeEif(out: string, parts: EifParts): Promise<Measurements> {
  checkParts(parts);
  return atomically(out, (file) => writeSections(file, parts));
}

/** @internal Lends a new file that takes the place of `out`, and its mode, once the work is done. */
export async function atomically<T>(out: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const temporary = join(dirname(out), `.${basename(out)}.${randomUUID()}.tmp`);
  const file = await open(temporary, "wx");
  try {
    const before = await stat(out).catch(() => null);
    if (before !== null) await file.chmod(before.mode & 0o777);
    const result = await work(file);
    await file.sync();
    await file.close();
    await rename(temporary, out);
    return result;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}

function checkParts({ kernel, cmdline, ramdisks, metadata }: EifParts): void {
  const refuse = (why: string): never => {
    throw new EifError("INVALID_PARTS", why);
  };
  if (kernel.sizeBytes === 0) refuse("the kernel is empty");
  if (!/^[\x20-\x7e]+$/.test(cmdline)) refuse("the command line must be printable ASCII, without a newline");
  if (cmdline.length > MAX_CMDLINE_BYTES)
    refuse(`a command line of ${cmdline.length} bytes, limit ${MAX_CMDLINE_BYTES}`);
  if (ramdisks.length === 0) refuse("an image has one ramdisk at least");
  // Kernel, command line, metadata and signature take the other places.
  if (ramdisks.length > MAX_SECTIONS - 4) refuse(`${ramdisks.length} ramdisks, limit ${MAX_SECTIONS - 4}`);
  const metadataBytes = encodeMetadata(metadata).length;
  if (metadataBytes > MAX_METADATA_BYTES) refuse(`${metadataBytes} bytes of metadata, limit ${MAX_METADATA_BYTES}`);
}

async function writeSections(file: FileHandle, parts: EifParts): Promise<Measurements> {
  const writer = new SectionWriter(file);
  const measurer = new Measurer();
  const measured = async (type: "kernel" | "cmdline" | "ramdisk", source: ByteSource): Promise<void> => {
    measurer.begin(type);
    await writer.section(type, source, (chunk) => measurer.update(chunk));
  };
  // AWS's order. Metadata stands between but is not measured.
  await measured("kernel", parts.kernel);
  await measured("cmdline", bytesSource(new TextEncoder().encode(parts.cmdline)));
  await writer.section("metadata", bytesSource(encodeMetadata(parts.metadata)));
  for (const ramdisk of parts.ramdisks) await measured("ramdisk", ramdisk);
  const pcrs = measurer.finish();
  const signed = parts.signer === undefined ? null : await signPcr0(pcrs.pcr0, parts.signer);
  if (signed !== null) await writer.section("signature", bytesSource(signed.section));
  await writer.finish({
    version: WRITTEN_VERSION,
    flags: parts.architecture === "aarch64" ? FLAG_AARCH64 : 0,
    defaultMemoryBytes: BigInt(parts.defaultMemoryBytes ?? DEFAULT_MEMORY_BYTES),
    defaultCpus: BigInt(parts.defaultCpus ?? DEFAULT_CPUS),
  });
  return measurementsOf(pcrs, signed?.pcr8 ?? null);
}

export interface HeaderFields {
  readonly version: number;
  readonly flags: number;
  readonly defaultMemoryBytes: bigint;
  readonly defaultCpus: bigint;
}

/** Writes sections one after the other, and the header at last, when every size and the CRC are known. */
export class SectionWriter {
  readonly #file: FileHandle;
  readonly #offsets: bigint[] = [];
  readonly #sizes: bigint[] = [];
  #at = HEADER_BYTES;
  #crc = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * @throws {@link EifError} `SOURCE_CHANGED` for a source that gives another number of bytes than it said,
   * `TOO_MANY_SECTIONS` for one more than the header's table has room for.
   */
  async section(type: SectionType, source: ByteSource, onChunk?: (chunk: Uint8Array) => void): Promise<void> {
    if (this.#offsets.length === MAX_SECTIONS) {
      throw new EifError("TOO_MANY_SECTIONS", `no room for the ${type}: an image has ${MAX_SECTIONS} sections at most`);
    }
    this.#offsets.push(BigInt(this.#at));
    this.#sizes.push(BigInt(source.sizeBytes));
    await this.#write(encodeSectionHeader(type, source.sizeBytes));
    const end = this.#at + source.sizeBytes;
    for await (const chunk of source.chunks()) {
      if (this.#at + chunk.length > end) throw changed(type, "more");
      onChunk?.(chunk);
      await this.#write(chunk);
    }
    if (this.#at !== end) throw changed(type, "fewer");
  }

  async finish(fields: HeaderFields): Promise<void> {
    const padded = (values: readonly bigint[]) => Array.from({ length: MAX_SECTIONS }, (_, slot) => values[slot] ?? 0n);
    const header = {
      ...fields,
      magic: EIF_MAGIC,
      reserved: 0,
      sectionCount: this.#offsets.length,
      sectionOffsets: padded(this.#offsets),
      sectionSizes: padded(this.#sizes),
      unused: 0,
      crc32: 0,
    };
    const crcOfHeader = crc32(encodeHeader(header).subarray(0, CRC_OFFSET));
    const crc = combineCrc32(crcOfHeader, this.#crc, this.#at - HEADER_BYTES);
    await writeAll(this.#file, encodeHeader({ ...header, crc32: crc }), 0);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#crc = crc32(bytes, this.#crc);
    await writeAll(this.#file, bytes, this.#at);
    this.#at += bytes.length;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

function changed(type: SectionType, how: string): EifError {
  return new EifError("SOURCE_CHANGED", `the ${type} gave ${how} bytes than its size said; was it changed meanwhile?`);
}
