/** `cloister eif inspect`: everything that an image says, and which rules it breaks. */
import {
  compressionOf,
  describeCertificate,
  describeEif,
  EifError,
  type EifSection,
  firstCertificate,
  type InspectedEif,
  inspectEif,
  refusalOfSignature,
  shadowingKeys,
  summarizeRamdisk,
} from "../eif/index.ts";
import { type CommandIo, printable, printableJson } from "./command-io.ts";
import { bytesText, progress, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif inspect FILE [--json]

Shows an enclave image: its sections by both walks (back to back as AWS's tools go, and by the header's table as a loader
may), its PCRs, signature, metadata, and what its ramdisks hold. Every rule of the format that it breaks is named by its
code (docs/eif.md). Nothing in a file that breaks one should be believed.

  --json  what nitro-cli describe-eif prints; what is wrong goes to standard error

Exit status: 0 the image keeps every rule, 1 it does not, or cannot be read, 2 wrong usage.
`;

/** @returns The exit status. */
export async function inspectEifCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { json: { type: "boolean", default: false } } as const;
  return runEifCommand(
    { name: "inspect", help: HELP, options, files: ["FILE"] },
    args,
    io,
    async ({ json }, [path = ""]) => {
      const eif = await inspectEif(path, progress(io, "reading"));
      const signatureRefusal = eif.signature === null ? null : refusalOfSignature(eif);
      const problems = [...eif.problems];
      if (signatureRefusal !== null && !problems.some(({ code }) => code === signatureRefusal.code)) {
        problems.push(signatureRefusal);
      }
      if (json) {
        io.out(`${printableJson(describeEif(eif))}\n`);
        for (const problem of [...problems.map(lineOf), ...(await notesOf(eif, io.nowMs()))]) {
          io.err(`cloister eif inspect: ${problem}\n`);
        }
      } else io.out(`${(await draw(eif, problems, io.nowMs())).join("\n")}\n`);
      return problems.length === 0 ? 0 : 1;
    },
  );
}

async function draw(eif: InspectedEif, problems: readonly EifError[], nowMs: number): Promise<string[]> {
  const { header, sizeBytes, architecture } = eif;
  const crcIsRight = header.crc32 === eif.crc32;
  const notes = await notesOf(eif, nowMs);
  return [
    `enclave image, format version ${header.version}, ${architecture}, ${bytesText(sizeBytes)} bytes`,
    `  CRC-32     ${hex32(header.crc32)} ${crcIsRight ? "✓" : `✗ the file has ${hex32(eif.crc32)}`}`,
    `  defaults   ${bytesText(header.defaultMemoryBytes)} bytes of memory, ${header.defaultCpus} CPUs (launchers ignore them)`,
    "",
    "sections           header at       data bytes",
    ...(await Promise.all(drawSections(eif))),
    ...drawTable(eif, problems),
    "",
    "command line",
    eif.cmdline === null ? "  none that can be shown" : `  ${printable(eif.cmdline)}`,
    "",
    "PCRs (SHA-384, as the hypervisor measures)",
    ...drawPcrs(eif),
    "",
    "signature",
    ...drawSignature(eif, nowMs),
    "",
    "metadata (no PCR covers it)",
    ...drawMetadata(eif),
    ...(notes.length === 0 ? [] : ["", "notes", ...notes.map((note) => `  ~ ${note}`)]),
    "",
    ...(problems.length === 0
      ? ["✓ every rule of the format is kept"]
      : [`✗ refused: ${problems.length} ${problems.length === 1 ? "rule is" : "rules are"} broken`]),
    ...problems.map((problem) => `  ✗ ${lineOf(problem)}`),
  ];
}

function lineOf({ code, message }: EifError): string {
  return `${code}: ${printable(message)}`;
}

function drawSections(eif: InspectedEif): Promise<string>[] {
  let ramdisks = 0;
  return eif.sections.map(async (section, index) => {
    const { type, headerOffset, sizeBytes } = section;
    const name = type === "ramdisk" ? `ramdisk ${ramdisks++}` : type;
    const columns = [
      `  ${String(index).padStart(2)} ${name.padEnd(11)}`,
      bytesText(headerOffset).padStart(13),
      bytesText(sizeBytes).padStart(16),
    ];
    const more = type === "ramdisk" ? await describeRamdisk(eif, section) : "";
    return `${columns.join(" ")}${more === "" ? "" : `   ${more}`}`;
  });
}

async function describeRamdisk(eif: InspectedEif, section: EifSection): Promise<string> {
  const compression = await compressionOf(eif.source(section));
  const packed = compression === "none" ? "cpio" : `cpio, ${compression}`;
  try {
    const { entries, files, dataBytes, specials } = await summarizeRamdisk(eif.source(section));
    const special = specials === 0 ? "" : `, ${specials} devices or the like`;
    return `${packed}: ${bytesText(entries)} entries, ${bytesText(files)} files${special}, ${bytesText(dataBytes)} bytes unpacked`;
  } catch (error) {
    // What is in a ramdisk is the kernel's to judge: the image may be in order.
    if (error instanceof EifError) return `${compression}: not listed, ${lineOf(error)}`;
    throw error;
  }
}

/** The other walk, where it is another. */
function drawTable({ header }: InspectedEif, problems: readonly EifError[]): string[] {
  const differs = /^(?:TABLE_|STALE_|SECTION_COUNT|TOO_MANY|UNUSED_SLOT)/;
  if (!problems.some(({ code }) => differs.test(code))) return ["  the header's table says the same ✓"];
  const slots = header.sectionOffsets
    .map((offset, slot) => ({ slot, offset, size: header.sectionSizes[slot] ?? 0n }))
    .filter(({ slot, offset, size }) => slot < header.sectionCount || offset !== 0n || size !== 0n);
  return [
    `  the header's table says otherwise ✗ (${header.sectionCount} sections)`,
    ...slots.map(({ slot, offset, size }) =>
      [`  ${String(slot).padStart(2)} (table)    `, bytesText(offset).padStart(13), bytesText(size).padStart(16)].join(
        " ",
      ),
    ),
  ];
}

function drawPcrs({ measurements }: InspectedEif): string[] {
  if (measurements === null) return ["  cannot be measured: sections are missing or cut off"];
  const { PCR0, PCR1, PCR2, PCR8 } = measurements;
  return [
    `  PCR0  ${PCR0}  kernel, command line, every ramdisk`,
    `  PCR1  ${PCR1}  kernel, command line, ramdisk 0`,
    `  PCR2  ${PCR2}  the other ramdisks`,
    ...(PCR8 === undefined ? [] : [`  PCR8  ${PCR8}  the signing certificate`]),
  ];
}

function drawSignature(eif: InspectedEif, nowMs: number): string[] {
  const { signature } = eif;
  if (signature === null) {
    return [eif.sections.some(({ type }) => type === "signature") ? "  cannot be read" : "  none: PCR8 is zeros"];
  }
  const refusal = refusalOfSignature(eif);
  return [
    `  ${signature.algorithm} over PCR${signature.registerIndex} ${
      refusal === null ? "✓ signed by the certificate's key, and it is this image's PCR0" : `✗ ${lineOf(refusal)}`
    }`,
    ...drawCertificate(signature.certificatePem, nowMs),
    "  nobody vouches for the certificate: compare PCR8 in the key policy",
  ];
}

function drawCertificate(pem: string, nowMs: number): string[] {
  try {
    const certificate = firstCertificate(pem);
    const described = describeCertificate(certificate);
    const isValid = nowMs >= certificate.validFromDate.getTime() && nowMs <= certificate.validToDate.getTime();
    return [
      `  subject    ${printable(certificate.subject.replaceAll("\n", ", "))}`,
      `  issuer     ${printable(certificate.issuer.replaceAll("\n", ", "))}`,
      `  valid      ${described.NotBefore} to ${described.NotAfter} ${isValid ? "✓" : "✗ not now: launching it fails"}`,
      `  key        ${certificate.publicKey.asymmetricKeyDetails?.namedCurve ?? certificate.publicKey.asymmetricKeyType}`,
    ];
  } catch (error) {
    if (error instanceof EifError) return [`  certificate: ${lineOf(error)}`];
    throw error;
  }
}

function drawMetadata({ metadata, sections }: InspectedEif): string[] {
  if (metadata === null) {
    return [sections.some(({ type }) => type === "metadata") ? "  cannot be read" : "  none in this version"];
  }
  const { imageName, imageVersion, build, dockerInfo, customMetadata } = metadata;
  const size = (value: unknown) =>
    value === null ? "none" : `${bytesText(JSON.stringify(value).length)} bytes of JSON`;
  return [
    `  image      ${printable(imageName)} ${printable(imageVersion)}`,
    `  built      ${printable(build.time)} by ${printable(build.tool)} ${printable(build.toolVersion)}`,
    `  kernel     ${printable(build.operatingSystem)} ${printable(build.kernelVersion)}`,
    `  docker     ${size(dockerInfo)}`,
    `  custom     ${size(customMetadata)}`,
  ];
}

/** What is odd and breaks no rule. */
async function notesOf(eif: InspectedEif, nowMs: number): Promise<string[]> {
  const notes: string[] = [];
  const { cmdline, metadata, signature, header, sections } = eif;
  if (cmdline !== null && !/^[\x20-\x7e]*$/.test(cmdline)) {
    notes.push("the command line holds other bytes than printable ASCII; a kernel reads it up to the first NUL");
  }
  if (sections.filter(({ type }) => type === "ramdisk").length === 1) {
    notes.push("with one ramdisk PCR1 equals PCR0, and PCR2 is that of nothing");
  }
  for (const type of ["signature", "metadata"] as const) {
    const since = type === "signature" ? 3 : 4;
    if (header.version < since && sections.some((section) => section.type === type)) {
      notes.push(`version ${header.version} of the format had no ${type} section yet`);
    }
  }
  const shadowing = metadata === null ? [] : shadowingKeys(metadata);
  if (shadowing.length > 0) {
    notes.push(`custom metadata has ${shadowing.join(", ")}, which nitro-cli shows in the place of the builder's own`);
  }
  if (signature !== null) {
    try {
      const { validToDate } = firstCertificate(signature.certificatePem);
      if (nowMs > validToDate.getTime()) notes.push("CERTIFICATE_EXPIRED: launching this image fails; sign it anew");
    } catch (error) {
      if (!(error instanceof EifError)) throw error;
    }
  }
  return notes;
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}
