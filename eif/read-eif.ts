/** Reads an image from end to end, once: both walks, the CRC and the PCRs. Memory does not grow with the image. */
import { crc32 } from "node:zlib";
import { type ByteSource, bytesSource, openUnchanging, type UnchangingFile } from "./byte-source.ts";
import { EifError } from "./errors.ts";
import {
  type Architecture,
  CRC_OFFSET,
  decodeHeader,
  type EifHeader,
  FLAG_AARCH64,
  HEADER_BYTES,
  type SectionType,
} from "./format.ts";
import { type Measurements, Measurer, measurementsOf, type Pcrs, pcrOfBytes } from "./measure.ts";
import { decodeMetadata, type EifMetadata, MAX_METADATA_BYTES } from "./metadata.ts";
import { firstCertificate } from "./sign-pcr0.ts";
import { decodeSignatureSection, type EifSignature, MAX_SIGNATURE_BYTES } from "./signature.ts";
import {
  checkComposition,
  checkHeader,
  checkIdentity,
  compareTable,
  type EifSection,
  Problems,
  walkSequentially,
} from "./walk.ts";

export interface ReadOptions {
  /** Called while the image is read: bytes done, bytes in all. */
  readonly onProgress?: (doneBytes: number, ofBytes: number) => void;
  /**
   * Given, an image whose only fault is `STALE_SIGNATURE_SIZE` is not refused by `readEif`, but told of here. AWS's own
   * tool makes such images, and both walks agree on every byte that PCR0 to PCR2 measure.
   */
  readonly onStaleSignatureSize?: (problem: EifError) => void;
}

export interface InspectedEif {
  readonly path: string;
  readonly sizeBytes: number;
  readonly header: EifHeader;
  readonly architecture: Architecture;
  /** As they follow one after the other in the file. */
  readonly sections: readonly EifSection[];
  /** Of the file as it is; the header has what it should be. */
  readonly crc32: number;
  /** Null where the sections could not be walked to the end, or what is measured is missing. */
  readonly pcrs: Pcrs | null;
  readonly measurements: Measurements | null;
  /** Bytes read as Latin-1: an untrusted image may have anything there. */
  readonly cmdline: string | null;
  readonly metadata: EifMetadata | null;
  readonly metadataBytes: Uint8Array | null;
  /** Decoded, not verified: `verifyEifSignature` does that. */
  readonly signature: EifSignature | null;
  readonly signatureBytes: Uint8Array | null;
  /** Every rule that the image breaks, first found first. Empty for an image that may be used. */
  readonly problems: readonly EifError[];
  /** The data of one of {@link sections}, read again. */
  source(section: EifSection): ByteSource;
}

/** The kernel takes 2047 bytes and cuts the rest off: what is shown would not be what counts. */
const MAX_CMDLINE_BYTES = 4096;

/** Sections that are held: everything else only goes by. */
const HELD = {
  cmdline: { limit: MAX_CMDLINE_BYTES, code: "CMDLINE_TOO_LARGE" },
  metadata: { limit: MAX_METADATA_BYTES, code: "METADATA_TOO_LARGE" },
  signature: { limit: MAX_SIGNATURE_BYTES, code: "SIGNATURE_TOO_LARGE" },
} as const;

/**
 * Reads an image that keeps every rule, but for the one that the caller lets pass.
 *
 * @throws {@link EifError} The first rule that it breaks.
 */
export async function readEif(path: string, options: ReadOptions = {}): Promise<InspectedEif> {
  const eif = await inspectEif(path, options);
  const { onStaleSignatureSize: onStale } = options;
  const passes = ({ code }: EifError) => onStale !== undefined && code === "STALE_SIGNATURE_SIZE";
  const refusal = eif.problems.find((problem) => !passes(problem));
  if (refusal !== undefined) throw refusal;
  for (const problem of eif.problems) onStale?.(problem);
  return eif;
}

/**
 * Reads as much of an image as can be shown, and says what is wrong with it in `problems`.
 *
 * @throws {@link EifError} `FILE_UNREADABLE`, `FILE_CHANGED`, `EIF_TOO_SHORT`, `BAD_MAGIC`, `UNSUPPORTED_VERSION`: there is
 * nothing to show.
 */
export async function inspectEif(path: string, options: ReadOptions = {}): Promise<InspectedEif> {
  return inspectFile(await openUnchanging(path), options);
}

/** The same of an image that is in memory. */
export async function inspectEifBytes(bytes: Uint8Array): Promise<InspectedEif> {
  const range = (from = 0, size = bytes.length - from) => bytesSource(bytes.subarray(from, from + size));
  return inspectFile({ path: "(memory)", sizeBytes: bytes.length, range }, {});
}

async function inspectFile(file: UnchangingFile, options: ReadOptions): Promise<InspectedEif> {
  const { path, sizeBytes } = file;
  if (sizeBytes < HEADER_BYTES) {
    throw new EifError("EIF_TOO_SHORT", `${sizeBytes} bytes, the header alone has ${HEADER_BYTES}`);
  }
  const readAt = async (offset: number, length: number) => collect(file.range(offset, length));
  const headerBytes = await readAt(0, HEADER_BYTES);
  const header = decodeHeader(headerBytes);
  checkIdentity(header);
  const problems = new Problems();
  checkHeader(header, problems);
  const { sections, isWhole } = await walkSequentially(sizeBytes, header, readAt, problems);
  if (isWhole) {
    compareTable(header, sections, problems);
    checkComposition(header.version, sections, problems);
  }
  const passed = await passThrough(file, headerBytes, sections, options);
  if (passed.crc32 !== header.crc32) {
    problems.add("CRC_MISMATCH", `the header has CRC ${hex32(header.crc32)}, the file has ${hex32(passed.crc32)}`);
  }
  const held = decodeHeld(sections, passed.held, problems);
  const pcrs =
    isWhole && MEASURED.every((type) => sections.some((section) => section.type === type)) ? passed.pcrs : null;
  return {
    path,
    sizeBytes,
    header,
    architecture: (header.flags & FLAG_AARCH64) === 0 ? "x86_64" : "aarch64",
    sections,
    crc32: passed.crc32,
    pcrs,
    measurements: pcrs === null ? null : measurementsOf(pcrs, held.pcr8),
    cmdline: held.cmdline,
    metadata: held.metadata,
    metadataBytes: held.metadataBytes,
    signature: held.signature,
    signatureBytes: held.signatureBytes,
    problems: problems.found,
    source: ({ dataOffset, sizeBytes: size }) => file.range(dataOffset, size),
  };
}

const MEASURED = ["kernel", "cmdline", "ramdisk"] as const;

interface Passed {
  readonly crc32: number;
  readonly pcrs: Pcrs;
  /** The data of sections that are held, by their place in the list. */
  readonly held: ReadonlyMap<number, Uint8Array>;
}

/** The one pass over the data, in the order of the file: the CRC takes every byte, the PCRs take what is measured. */
async function passThrough(
  file: UnchangingFile,
  headerBytes: Uint8Array,
  sections: readonly EifSection[],
  { onProgress }: ReadOptions,
): Promise<Passed> {
  const measurer = new Measurer();
  const held = new Map<number, Uint8Array>();
  let crc = crc32(headerBytes.subarray(0, CRC_OFFSET));
  let at = HEADER_BYTES;
  const pass = async (length: number, take: (chunk: Uint8Array) => void): Promise<void> => {
    for await (const chunk of file.range(at, length).chunks()) {
      crc = crc32(chunk, crc);
      take(chunk);
      at += chunk.length;
      onProgress?.(at, file.sizeBytes);
    }
  };
  for (const [index, { type, dataOffset, sizeBytes }] of sections.entries()) {
    await pass(dataOffset - at, () => undefined);
    if (type === "kernel" || type === "cmdline" || type === "ramdisk") measurer.begin(type);
    const isMeasured = type !== "metadata" && type !== "signature";
    const copy = isHeld(type) && sizeBytes <= HELD[type].limit ? new Uint8Array(sizeBytes) : null;
    if (copy !== null) held.set(index, copy);
    await pass(sizeBytes, (chunk) => {
      copy?.set(chunk, at - dataOffset);
      if (isMeasured) measurer.update(chunk);
    });
  }
  await pass(file.sizeBytes - at, () => undefined);
  return { crc32: crc, pcrs: measurer.finish(), held };
}

function isHeld(type: SectionType): type is keyof typeof HELD {
  return type in HELD;
}

type Held = Pick<InspectedEif, "cmdline" | "metadata" | "metadataBytes" | "signature" | "signatureBytes"> & {
  readonly pcr8: Uint8Array | null;
};

/** Decodes the first section of each kind that is held; a second one is a problem that was noted already. */
function decodeHeld(sections: readonly EifSection[], held: Passed["held"], problems: Problems): Held {
  const dataOf = (type: keyof typeof HELD): Uint8Array | null => {
    const index = sections.findIndex((section) => section.type === type);
    const section = sections[index];
    if (section === undefined) return null;
    const bytes = held.get(index) ?? null;
    const { limit, code } = HELD[type];
    if (bytes === null) problems.add(code, `a ${type} section of ${section.sizeBytes} bytes, limit ${limit}`);
    return bytes;
  };
  const cmdline = dataOf("cmdline");
  const metadataBytes = dataOf("metadata");
  const signatureBytes = dataOf("signature");
  const signature = decodeOrNote(signatureBytes, decodeSignatureSection, problems);
  return {
    cmdline: cmdline === null ? null : Buffer.from(cmdline).toString("latin1"),
    metadataBytes,
    metadata: decodeOrNote(metadataBytes, decodeMetadata, problems),
    signatureBytes,
    signature,
    pcr8: decodeOrNote(signature, ({ certificatePem }) => pcrOfBytes(firstCertificate(certificatePem).raw), problems),
  };
}

function decodeOrNote<T, U>(value: T | null, decode: (value: T) => U, problems: Problems): U | null {
  if (value === null) return null;
  try {
    return decode(value);
  } catch (error) {
    if (!(error instanceof EifError)) throw error;
    problems.found.push(error);
    return null;
  }
}

async function collect(source: ByteSource): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.chunks()) chunks.push(chunk.slice());
  return new Uint8Array(Buffer.concat(chunks));
}

export function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}
