/**
 * The two ways through an image. AWS's library, and so what nitro-cli shows, reads section headers back to back and looks
 * at no table. QEMU follows the table, and which of the two the hypervisor does is not public. Where they differ, one
 * file is two images: the one that was reviewed and the one that runs (nitro.md 1.3).
 */
import { EifError, type EifErrorCode } from "./errors.ts";
import {
  decodeSectionHeader,
  EIF_MAGIC,
  type EifHeader,
  FLAG_AARCH64,
  HEADER_BYTES,
  MAX_SECTIONS,
  MAX_VERSION,
  METADATA_SINCE_VERSION,
  MIN_VERSION,
  SECTION_HEADER_BYTES,
  type SectionType,
} from "./format.ts";

export interface EifSection {
  readonly type: SectionType;
  /** Of the section's header, which is what the table names. */
  readonly headerOffset: number;
  readonly dataOffset: number;
  /** Of the data, without the header. */
  readonly sizeBytes: number;
}

/** Collects what is wrong, in the order in which it was found. */
export class Problems {
  readonly found: EifError[] = [];

  add(code: EifErrorCode, message: string): void {
    this.found.push(new EifError(code, message));
  }
}

/** What tells an image of a format that we know from everything else: without it nothing can be shown. */
export function checkIdentity(header: EifHeader): void {
  if (header.magic !== EIF_MAGIC) throw new EifError("BAD_MAGIC", "the file does not begin with .eif");
  if (header.version < MIN_VERSION || header.version > MAX_VERSION) {
    throw new EifError(
      "UNSUPPORTED_VERSION",
      `format version ${header.version}; ${MIN_VERSION} to ${MAX_VERSION} are known`,
    );
  }
}

export function checkHeader(header: EifHeader, problems: Problems): void {
  if ((header.flags & ~FLAG_AARCH64) !== 0) {
    problems.add("UNKNOWN_FLAGS", `header flags 0x${header.flags.toString(16)}; only bit 0, aarch64, is known`);
  }
  if (header.reserved !== 0 || header.unused !== 0)
    problems.add("RESERVED_NOT_ZERO", "reserved header fields are not 0");
  if (header.sectionCount > MAX_SECTIONS) {
    problems.add("TOO_MANY_SECTIONS", `the header claims ${header.sectionCount} sections, limit ${MAX_SECTIONS}`);
  }
  for (let slot = header.sectionCount; slot < MAX_SECTIONS; slot += 1) {
    if (header.sectionOffsets[slot] !== 0n || header.sectionSizes[slot] !== 0n) {
      problems.add("UNUSED_SLOT_NOT_ZERO", `slot ${slot} of the section table is not used and not 0`);
    }
  }
}

export interface Walk {
  readonly sections: readonly EifSection[];
  /** False where the walk ended at something that cannot be read, and more sections may have been meant to follow. */
  readonly isWhole: boolean;
}

/**
 * AWS's walk: headers back to back up to the end of the file.
 *
 * @param readAt - Gives bytes that are known to be there.
 */
export async function walkSequentially(
  sizeBytes: number,
  header: EifHeader,
  readAt: (offset: number, length: number) => Promise<Uint8Array>,
  problems: Problems,
): Promise<Walk> {
  const sections: EifSection[] = [];
  let at = HEADER_BYTES;
  while (at < sizeBytes) {
    const left = sizeBytes - at - SECTION_HEADER_BYTES;
    // What AWS's library passes over without a word.
    if (left < 0) {
      problems.add("TRAILING_BYTES", `${sizeBytes - at} bytes after the last section, at ${at}`);
      return { sections, isWhole: sections.length >= header.sectionCount };
    }
    if (sections.length === MAX_SECTIONS) {
      problems.add("TOO_MANY_SECTIONS", `a section follows the ${MAX_SECTIONS} that are the most, at ${at}`);
      return { sections, isWhole: false };
    }
    const { type, typeNumber, flags, size } = decodeSectionHeader(await readAt(at, SECTION_HEADER_BYTES));
    if (type === null || size > left) {
      // After the last section that the header counts, this was not meant to be one.
      const isWhole = sections.length === header.sectionCount;
      if (isWhole) problems.add("TRAILING_BYTES", `${sizeBytes - at} bytes after the last section, at ${at}`);
      else if (type === null) problems.add("SECTION_TYPE_UNKNOWN", `section type ${typeNumber} at ${at}`);
      else problems.add("SECTION_BEYOND_END", `the ${type} at ${at} claims ${size} bytes, ${left} are left`);
      return { sections, isWhole };
    }
    if (flags !== 0) problems.add("SECTION_FLAGS_NOT_ZERO", `the ${type} at ${at} has flags 0x${flags.toString(16)}`);
    sections.push({ type, headerOffset: at, dataOffset: at + SECTION_HEADER_BYTES, sizeBytes: Number(size) });
    at += SECTION_HEADER_BYTES + Number(size);
  }
  return { sections, isWhole: true };
}

/** The loader's walk must name the same places and sizes, one for one. */
export function compareTable(header: EifHeader, sections: readonly EifSection[], problems: Problems): void {
  if (header.sectionCount !== sections.length) {
    problems.add(
      "SECTION_COUNT_MISMATCH",
      `the header counts ${header.sectionCount} sections, ${sections.length} follow one after the other`,
    );
  }
  for (const [slot, { type, headerOffset, sizeBytes }] of sections.slice(0, header.sectionCount).entries()) {
    const [offset = 0n, size = 0n] = [header.sectionOffsets[slot], header.sectionSizes[slot]];
    if (offset !== BigInt(headerOffset)) {
      problems.add(
        "TABLE_OFFSET_MISMATCH",
        `the table has section ${slot} at ${offset}, the ${type} is at ${headerOffset}`,
      );
    }
    if (size === BigInt(sizeBytes)) continue;
    // AWS's sign-eif leaves the old size where it signs anew; the rest of such a file is in order.
    if (type === "signature") {
      problems.add("STALE_SIGNATURE_SIZE", `the table has ${size} bytes for the signature, it has ${sizeBytes}`);
    } else problems.add("TABLE_SIZE_MISMATCH", `the table has ${size} bytes for the ${type}, it has ${sizeBytes}`);
  }
}

export function checkComposition(version: number, sections: readonly EifSection[], problems: Problems): void {
  const count = (type: SectionType) => sections.filter((section) => section.type === type).length;
  if (count("kernel") === 0) problems.add("NO_KERNEL", "there is no kernel");
  if (count("kernel") > 1) problems.add("TWO_KERNELS", `there are ${count("kernel")} kernels`);
  if (count("cmdline") === 0) problems.add("NO_CMDLINE", "there is no command line");
  if (count("cmdline") > 1) problems.add("TWO_CMDLINES", `there are ${count("cmdline")} command lines`);
  if (count("ramdisk") === 0) problems.add("NO_RAMDISK", "there is no ramdisk");
  const types = sections.map(({ type }) => type);
  if (types.includes("ramdisk") && types.indexOf("ramdisk") < types.indexOf("kernel")) {
    problems.add("RAMDISK_BEFORE_KERNEL", "a ramdisk stands before the kernel");
  }
  if (version >= METADATA_SINCE_VERSION && count("metadata") === 0) problems.add("NO_METADATA", "there is no metadata");
  if (count("metadata") > 1) problems.add("TWO_METADATA", `there are ${count("metadata")} metadata sections`);
  if (count("signature") > 1) problems.add("TWO_SIGNATURES", `there are ${count("signature")} signature sections`);
}
