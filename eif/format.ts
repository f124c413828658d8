/** The bytes of an EIF: one header, then sections, all integers big-endian, nothing padded (nitro.md 1.1, 1.2). */
export const EIF_MAGIC = 0x2e656966; // ".eif"
export const HEADER_BYTES = 548;
export const SECTION_HEADER_BYTES = 12;
export const MAX_SECTIONS = 32;
/** The header's last field. The CRC covers every other byte of the file. */
export const CRC_OFFSET = 544;

/** What we write. 2 had neither signature nor metadata, 3 no metadata; the header's layout never changed. */
export const WRITTEN_VERSION = 4;
export const MIN_VERSION = 2;
export const MAX_VERSION = 4;
/** The versions that brought each section (nitro.md 1.1). */
export const SIGNATURE_SINCE_VERSION = 3;
export const METADATA_SINCE_VERSION = 4;

/** Header flags, bit 0: set for aarch64. The other bits are zero. */
export const FLAG_AARCH64 = 1;

export type Architecture = "x86_64" | "aarch64";
export type SectionType = "kernel" | "cmdline" | "ramdisk" | "signature" | "metadata";

const SECTION_TYPES: ReadonlyMap<number, SectionType> = new Map([
  [1, "kernel"],
  [2, "cmdline"],
  [3, "ramdisk"],
  [4, "signature"],
  [5, "metadata"],
]);
const TYPE_NUMBERS: ReadonlyMap<SectionType, number> = new Map(
  [...SECTION_TYPES].map(([number, type]) => [type, number]),
);

/** Fields as they stand in the file, judged by nobody yet. Offsets and sizes are u64: not yet numbers. */
export interface EifHeader {
  readonly magic: number;
  readonly version: number;
  readonly flags: number;
  readonly defaultMemoryBytes: bigint;
  readonly defaultCpus: bigint;
  readonly reserved: number;
  readonly sectionCount: number;
  /** 32 offsets of section headers, not of the data. */
  readonly sectionOffsets: readonly bigint[];
  /** 32 sizes of section data, without their headers. */
  readonly sectionSizes: readonly bigint[];
  readonly unused: number;
  readonly crc32: number;
}

export function decodeHeader(bytes: Uint8Array): EifHeader {
  const view = viewOf(bytes);
  const table = (from: number) => Array.from({ length: MAX_SECTIONS }, (_, slot) => view.getBigUint64(from + 8 * slot));
  return {
    magic: view.getUint32(0),
    version: view.getUint16(4),
    flags: view.getUint16(6),
    defaultMemoryBytes: view.getBigUint64(8),
    defaultCpus: view.getBigUint64(16),
    reserved: view.getUint16(24),
    sectionCount: view.getUint16(26),
    sectionOffsets: table(28),
    sectionSizes: table(284),
    unused: view.getUint32(540),
    crc32: view.getUint32(CRC_OFFSET),
  };
}

export function encodeHeader(header: EifHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, header.magic);
  view.setUint16(4, header.version);
  view.setUint16(6, header.flags);
  view.setBigUint64(8, header.defaultMemoryBytes);
  view.setBigUint64(16, header.defaultCpus);
  view.setUint16(24, header.reserved);
  view.setUint16(26, header.sectionCount);
  for (const [slot, offset] of header.sectionOffsets.entries()) view.setBigUint64(28 + 8 * slot, offset);
  for (const [slot, size] of header.sectionSizes.entries()) view.setBigUint64(284 + 8 * slot, size);
  view.setUint32(540, header.unused);
  view.setUint32(CRC_OFFSET, header.crc32);
  return bytes;
}

export interface SectionHeader {
  /** Null for a number that the format does not have. */
  readonly type: SectionType | null;
  readonly typeNumber: number;
  readonly flags: number;
  readonly size: bigint;
}

export function decodeSectionHeader(bytes: Uint8Array): SectionHeader {
  const view = viewOf(bytes);
  const typeNumber = view.getUint16(0);
  return {
    type: SECTION_TYPES.get(typeNumber) ?? null,
    typeNumber,
    flags: view.getUint16(2),
    size: view.getBigUint64(4),
  };
}

export function encodeSectionHeader(type: SectionType, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(SECTION_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint16(0, TYPE_NUMBERS.get(type) ?? 0);
  view.setBigUint64(4, BigInt(sizeBytes));
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
