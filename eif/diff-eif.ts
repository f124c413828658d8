/** What differs between two images, and which PCRs that moves. */
import { createHash } from "node:crypto";
import type { ByteSource } from "./byte-source.ts";
import { EifError } from "./errors.ts";
import { hexOf } from "./measure.ts";
import { compressionOf, type RamdiskCompression } from "./ramdisk.ts";
import { type RamdiskFile, ramdiskFiles } from "./ramdisk-files.ts";
import type { InspectedEif } from "./read-eif.ts";
import { firstCertificate } from "./sign-pcr0.ts";
import type { EifSection } from "./walk.ts";

export type PcrName = "PCR0" | "PCR1" | "PCR2" | "PCR8";

/** One aspect of a file that is not the same in both images. */
export interface FileChange {
  readonly what: keyof RamdiskFile;
  readonly a: string | number;
  readonly b: string | number;
}

export type FileDifference =
  | { readonly kind: "added" | "removed"; readonly name: string; readonly file: RamdiskFile }
  | { readonly kind: "changed"; readonly name: string; readonly changes: readonly FileChange[] };

export type Difference =
  | {
      readonly kind: "header";
      readonly field: string;
      readonly a: string;
      readonly b: string;
      readonly moves: readonly PcrName[];
    }
  | { readonly kind: "kernel"; readonly aSha256: string; readonly bSha256: string; readonly moves: readonly PcrName[] }
  | { readonly kind: "cmdline"; readonly a: string; readonly b: string; readonly moves: readonly PcrName[] }
  | { readonly kind: "metadata"; readonly changes: readonly MetadataChange[]; readonly moves: readonly PcrName[] }
  | { readonly kind: "signature"; readonly why: string; readonly moves: readonly PcrName[] }
  | { readonly kind: "order"; readonly why: string; readonly moves: readonly PcrName[] }
  | {
      readonly kind: "ramdisk";
      readonly index: number;
      readonly moves: readonly PcrName[];
      /** The same files may be packed otherwise: `why` says so. */
      readonly why: string;
      readonly files: readonly FileDifference[];
    };

export interface MetadataChange {
  /** Such as `BuildMetadata.BuildTime`. */
  readonly path: string;
  /** JSON, or null where it is absent. */
  readonly a: string | null;
  readonly b: string | null;
}

export interface EifDifference {
  /** Empty for images that are the same but perhaps for their bytes: see {@link isSameFile}. */
  readonly differences: readonly Difference[];
  readonly moved: readonly PcrName[];
  readonly isSameFile: boolean;
}

const BOOT: readonly PcrName[] = ["PCR0", "PCR1"];
const APPLICATION: readonly PcrName[] = ["PCR0", "PCR2"];

/**
 * @param a - Both images as `readEif` or `inspectEif` gave them; they are read again where bytes are compared.
 * @throws {@link EifError} `FILE_CHANGED`. What is wrong inside a ramdisk is said in its difference.
 */
export async function diffEifs(a: InspectedEif, b: InspectedEif): Promise<EifDifference> {
  const differences = [
    ...diffHeaders(a, b),
    ...(await diffKernels(a, b)),
    ...(a.cmdline === b.cmdline
      ? []
      : [{ kind: "cmdline", a: a.cmdline ?? "", b: b.cmdline ?? "", moves: BOOT } as const]),
    ...diffMetadata(a, b),
    ...(await diffRamdisks(a, b)),
    ...diffSignatures(a, b),
    ...diffOrder(a, b),
  ];
  const pcrs = ["PCR0", "PCR1", "PCR2", "PCR8"] as const;
  return {
    differences,
    moved: pcrs.filter((pcr) => a.measurements?.[pcr] !== b.measurements?.[pcr]),
    isSameFile: differences.length === 0 && a.crc32 === b.crc32 && a.sizeBytes === b.sizeBytes,
  };
}

function diffHeaders(a: InspectedEif, b: InspectedEif): Difference[] {
  const fields: readonly (readonly [string, string, string])[] = [
    ["version", String(a.header.version), String(b.header.version)],
    ["architecture", a.architecture, b.architecture],
    ["default memory", String(a.header.defaultMemoryBytes), String(b.header.defaultMemoryBytes)],
    ["default CPUs", String(a.header.defaultCpus), String(b.header.defaultCpus)],
  ];
  return fields
    .filter(([, of, other]) => of !== other)
    .map(([field, of, other]) => ({ kind: "header", field, a: of, b: other, moves: [] }));
}

async function diffKernels(a: InspectedEif, b: InspectedEif): Promise<Difference[]> {
  const [aSha256, bSha256] = [await sha256Of(sourceOf(a, "kernel")), await sha256Of(sourceOf(b, "kernel"))];
  return aSha256 === bSha256 ? [] : [{ kind: "kernel", aSha256, bSha256, moves: BOOT }];
}

function diffMetadata(a: InspectedEif, b: InspectedEif): Difference[] {
  const [of, other] = [a.metadataBytes, b.metadataBytes];
  if (Buffer.compare(of ?? new Uint8Array(), other ?? new Uint8Array()) === 0) return [];
  const changes: MetadataChange[] = [];
  compareJson("", jsonOf(of), jsonOf(other), changes);
  return [{ kind: "metadata", changes, moves: [] }];
}

/** Undefined for what is absent; the raw text for what is no JSON. */
function jsonOf(bytes: Uint8Array | null): unknown {
  if (bytes === null) return undefined;
  const text = Buffer.from(bytes).toString("utf8");
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Deeper than AWS's types and any image's description; further down the texts are compared. */
const MAX_DEPTH = 16;

function compareJson(path: string, a: unknown, b: unknown, changes: MetadataChange[], depth = 0): void {
  const [of, other] = [JSON.stringify(a) ?? null, JSON.stringify(b) ?? null];
  if (of === other) return;
  if (!isRecord(a) || !isRecord(b) || depth === MAX_DEPTH) {
    changes.push({ path: path === "" ? "(all)" : path, a: of, b: other });
    return;
  }
  const own = (value: Record<string, unknown>, key: string) => (Object.hasOwn(value, key) ? value[key] : undefined);
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    compareJson(path === "" ? key : `${path}.${key}`, own(a, key), own(b, key), changes, depth + 1);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function diffRamdisks(a: InspectedEif, b: InspectedEif): Promise<Difference[]> {
  const [ofA, ofB] = [ramdisksOf(a), ramdisksOf(b)];
  const differences: Difference[] = [];
  for (let index = 0; index < Math.max(ofA.length, ofB.length); index += 1) {
    const [of, other] = [ofA[index], ofB[index]];
    const moves = index === 0 ? BOOT : APPLICATION;
    if (of === undefined || other === undefined) {
      differences.push({ kind: "ramdisk", index, moves, why: `only in ${of === undefined ? "B" : "A"}`, files: [] });
    } else if ((await sha256Of(of)) !== (await sha256Of(other))) {
      differences.push({ kind: "ramdisk", index, moves, ...(await diffRamdisk(of, other)) });
    }
  }
  return differences;
}

async function diffRamdisk(
  a: ByteSource,
  b: ByteSource,
): Promise<{ readonly why: string; readonly files: readonly FileDifference[] }> {
  const [packedA, packedB] = [await compressionOf(a), await compressionOf(b)];
  const packing = packedA === packedB ? "" : `compression ${packedA} in A, ${packedB} in B`;
  try {
    const files = diffFiles(await ramdiskFiles(a), await ramdiskFiles(b));
    const why = files.length > 0 ? packing : samesPackedOtherwise(packing, packedA);
    return { why, files };
  } catch (error) {
    if (!(error instanceof EifError)) throw error;
    return { why: `cannot be compared file by file: ${error.code}: ${error.message}`, files: [] };
  }
}

function samesPackedOtherwise(packing: string, compression: RamdiskCompression): string {
  if (packing !== "") return `the same files; ${packing}`;
  const how = compression === "none" ? "" : ", or another version or level of the compressor";
  return `the same files, packed otherwise: their order, inode numbers or padding${how}`;
}

const COMPARED = ["kind", "permissions", "uid", "gid", "mtimeSeconds", "sizeBytes", "device", "contentSha256"] as const;

function diffFiles(a: ReadonlyMap<string, RamdiskFile>, b: ReadonlyMap<string, RamdiskFile>): FileDifference[] {
  const names = [...new Set([...a.keys(), ...b.keys()])].sort();
  return names.flatMap((name): FileDifference[] => {
    const [of, other] = [a.get(name), b.get(name)];
    if (of === undefined) return other === undefined ? [] : [{ kind: "added", name, file: other }];
    if (other === undefined) return [{ kind: "removed", name, file: of }];
    const changes = COMPARED.filter((what) => of[what] !== other[what]);
    return changes.length === 0
      ? []
      : [{ kind: "changed", name, changes: changes.map((what) => ({ what, a: of[what], b: other[what] })) }];
  });
}

function diffSignatures(a: InspectedEif, b: InspectedEif): Difference[] {
  const [of, other] = [a.signatureBytes, b.signatureBytes];
  if (of === null && other === null) return [];
  if (of === null || other === null) {
    return [{ kind: "signature", why: `only ${of === null ? "B" : "A"} is signed`, moves: ["PCR8"] }];
  }
  if (Buffer.compare(of, other) === 0) return [];
  const [signer, otherSigner] = [fingerprintOf(a), fingerprintOf(b)];
  if (signer === otherSigner) {
    // ECDSA is randomised: the same key over the same PCR0 gives other bytes each time.
    return [{ kind: "signature", why: "the same certificate, another signature", moves: [] }];
  }
  return [{ kind: "signature", why: `certificate ${signer} in A, ${otherSigner} in B`, moves: ["PCR8"] }];
}

function fingerprintOf({ signature }: InspectedEif): string {
  try {
    return signature === null ? "unreadable" : firstCertificate(signature.certificatePem).fingerprint256;
  } catch {
    return "unreadable";
  }
}

/** Sections that are measured are hashed in the order of the file. */
function diffOrder(a: InspectedEif, b: InspectedEif): Difference[] {
  const order = ({ sections }: InspectedEif) => sections.map(({ type }) => type).filter((type) => type !== "signature");
  const [of, other] = [order(a), order(b)];
  if ([...of].sort().join() !== [...other].sort().join() || of.join() === other.join()) return [];
  const measured = (types: readonly string[]) => types.filter((type) => type !== "metadata").join();
  const moves = measured(of) === measured(other) ? [] : BOOT;
  return [{ kind: "order", why: `sections stand as ${of.join(", ")} in A, ${other.join(", ")} in B`, moves }];
}

function sourceOf(eif: InspectedEif, type: EifSection["type"]): ByteSource | null {
  const section = eif.sections.find((one) => one.type === type);
  return section === undefined ? null : eif.source(section);
}

function ramdisksOf(eif: InspectedEif): ByteSource[] {
  return eif.sections.filter(({ type }) => type === "ramdisk").map((section) => eif.source(section));
}

async function sha256Of(source: ByteSource | null): Promise<string> {
  const hash = createHash("sha256");
  if (source !== null) for await (const chunk of source.chunks()) hash.update(chunk);
  return hexOf(hash.digest());
}
