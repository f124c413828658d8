/** `cloister attestation inspect`: everything that a document says, and which checks it passes. */
import {
  AttestationError,
  decodeUnverified,
  describeUnverifiedCertificate,
  type ExpectedAttestation,
  type UnverifiedAttestation,
  verifyAttestation,
} from "../attestation/index.ts";
import { hexOf, readAttestationOptions, readDocument } from "./attestation-options.ts";
import { documentToJson } from "./attestation-verify.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";

const INSPECT_HELP = `Usage: cloister attestation inspect [FILE] [options]

Shows an attestation document, raw, base64 or hex, from FILE or standard input: its chain, PCRs, fields, and each step
of the verification with ✓, ✗, or ~ where nothing was given to compare with. Takes the options of "verify", but judges at the document's own time unless --at says
otherwise. What it shows is not verified unless every step has its ✓.

Exit status: 0 shown, 1 not an attestation document, 2 wrong usage.
`;

/** The steps of docs/verify-an-attestation.md. */
const STEPS = [
  "encoding: one strict CBOR item, a COSE_Sign1",
  "headers: ES384, nothing critical, 96 bytes of signature",
  "fields: each of its type and size",
  "path: from a pinned root, every certificate signed by the one before",
  "validity: every certificate",
  "extensions: authorities may issue, the leaf may not",
  "signature: the document's own, by the leaf's key",
  "freshness: nonce and age",
  "policy: debug mode and PCRs",
] as const;

/** @returns The exit status. */
export async function inspectAttestationCommand(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const options = await readAttestationOptions(args, io, "document");
    if (options === null) {
      io.out(INSPECT_HELP);
      return 0;
    }
    const bytes = await readDocument(options.path, io);
    const refusal = await refusalOf(bytes, options.expected);
    if (refusal?.step === 0) throw new UsageError(refusal.message);
    const document = refusal !== null && refusal.step <= 3 ? null : decodeUnverified(bytes);
    if (options.json) io.out(`${JSON.stringify(toJson(bytes, document, refusal))}\n`);
    else io.out(`${draw(bytes, document, refusal, options.expected).join("\n")}\n`);
    return document === null ? 1 : 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.err(`cloister attestation inspect: ${error.message}\n`);
    return 2;
  }
}

async function refusalOf(bytes: Uint8Array, expected: ExpectedAttestation): Promise<AttestationError | null> {
  try {
    await verifyAttestation(bytes, expected);
    return null;
  } catch (error) {
    if (error instanceof AttestationError) return error;
    throw error;
  }
}

function draw(
  bytes: Uint8Array,
  document: UnverifiedAttestation | null,
  refusal: AttestationError | null,
  expected: ExpectedAttestation,
): string[] {
  return [
    `attestation document, ${bytes.length} bytes`,
    ...(document === null ? [] : [...drawFields(document), ...drawChain(document), ...drawPcrs(document)]),
    "",
    "checks",
    ...STEPS.flatMap((step, at) => drawStep(at + 1, step, refusal, leftOut(at + 1, expected))),
    ...notes(expected),
  ];
}

function drawFields(document: UnverifiedAttestation): string[] {
  return [
    `  module      ${printable(document.moduleId)}`,
    `  made        ${new Date(document.timestampMs).toISOString()}`,
    `  digest      ${document.digest}`,
    `  public_key  ${drawBytes(document.publicKey)}`,
    `  user_data   ${drawBytes(document.userData)}`,
    `  nonce       ${drawBytes(document.nonce)}`,
  ];
}

function drawBytes(bytes: Uint8Array | null): string {
  if (bytes === null) return "absent";
  return bytes.length === 0 ? "empty" : `${hexOf(bytes)} (${bytes.length} bytes)`;
}

function drawChain({ cabundle, certificate }: UnverifiedAttestation): string[] {
  return ["", "chain", ...[...cabundle, certificate].flatMap((der, depth) => drawCertificate(der, depth))];
}

function drawCertificate(der: Uint8Array, depth: number): string[] {
  const indent = `  ${"  ".repeat(depth)}`;
  try {
    const { subject, notBeforeMs, notAfterMs, isAuthority, pathLength } = describeUnverifiedCertificate(der);
    const below = pathLength === null ? "" : `, at most ${pathLength} below`;
    return [
      `${indent}└ ${printable(subject.join(", "))}`,
      `${indent}  ${seconds(notBeforeMs)} to ${seconds(notAfterMs)} (${lifetime(notAfterMs - notBeforeMs)})` +
        `, ${isAuthority ? `authority${below}` : "leaf"}`,
    ];
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    return [`${indent}└ ${der.length} bytes that are no certificate of this kind: ${error.code}`];
  }
}

function drawPcrs({ pcrs }: UnverifiedAttestation): string[] {
  const zero = [...pcrs].filter(([, value]) => value.every((byte) => byte === 0)).map(([index]) => index);
  return [
    "",
    "PCRs (locked ones; others are not listed)",
    ...[...pcrs]
      .filter(([index]) => !zero.includes(index))
      .map(([index, value]) => `  ${String(index).padStart(2)}  ${hexOf(value)}`),
    ...(zero.length === 0 ? [] : [`  zeros: ${zero.join(", ")}`]),
  ];
}

function drawStep(number: number, step: string, refusal: AttestationError | null, leftOut: string | null): string[] {
  if (refusal !== null && number > refusal.step) return [`  · ${number} ${step} (not reached)`];
  if (refusal?.step === number)
    return [`  ✗ ${number} ${step}`, `      ${refusal.code}: ${printable(refusal.message)}`];
  // Half a check has no ✓: who reads only the marks must not take it for one.
  return leftOut === null ? [`  ✓ ${number} ${step}`] : [`  ~ ${number} ${step}: ${leftOut}`];
}

/** What a step did not compare, because nobody said with what. */
function leftOut(number: number, { nonce, pcrs }: ExpectedAttestation): string | null {
  if (number === 8 && nonce === "unchecked") return "no nonce was compared (--nonce)";
  if (number === 9 && pcrs === "unchecked") return "no PCR was compared (--pcr)";
  return null;
}

function notes({ atMs }: ExpectedAttestation): string[] {
  return atMs === "document" ? ["  judged at the document's own time; --at now judges at this moment"] : [];
}

function toJson(bytes: Uint8Array, document: UnverifiedAttestation | null, refusal: AttestationError | null): object {
  return {
    bytes: bytes.length,
    verified: refusal === null,
    ...(refusal === null
      ? {}
      : { refusal: { code: refusal.code, step: refusal.step, expected: refusal.expected, got: refusal.got } }),
    document: document === null ? null : documentToJson(document),
  };
}

function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function lifetime(ms: number): string {
  const units: readonly (readonly [string, number])[] = [
    ["y", 365 * 86_400_000],
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1000],
  ];
  let left = ms;
  const shown = units.flatMap(([unit, size]) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return count > 0 ? [`${count} ${unit}`] : [];
  });
  return shown.slice(0, 2).join(" ");
}
