/** `cloister attestation verify`: one answer, for scripts. */
import {
  AttestationError,
  type ExpectedAttestation,
  type UnverifiedAttestation,
  verifyAttestation,
} from "../attestation/index.ts";
import { hexOf, readAttestationOptions, readDocument } from "./attestation-options.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";

const VERIFY_HELP = `Usage: cloister attestation verify [FILE] [options]

Verifies an attestation document of AWS Nitro Enclaves, raw, base64 or hex, from FILE or standard input.

  --pcr N=HEX      a PCR that must have this value; several make one set, which must hold PCR0, or PCR1 and PCR2, or
                   PCR8 and another. Without: any enclave of anybody passes
  --nonce HEX      the challenge that was sent. Without: a captured document passes
  --at TIME        judge at this time: now (default), document (its own time, for archived evidence), or ISO 8601
  --max-age S      how old it may be, in seconds (default 300)
  --root FILE      trust this root certificate, PEM or DER, in place of AWS's; may be repeated
  --allow-debug    accept debug mode, in which the parent reads the enclave's console and PCR0 to 2 are zero
  --json           print JSON
  --help           show this

Exit status: 0 verified, 1 refused (code and reason on standard error), 2 wrong usage.
`;

/** @returns The exit status. */
export async function verifyAttestationCommand(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    const options = await readAttestationOptions(args, io, "now");
    if (options === null) {
      io.out(VERIFY_HELP);
      return 0;
    }
    const bytes = await readDocument(options.path, io);
    const document = await verifyAttestation(bytes, options.expected);
    if (options.json) io.out(`${JSON.stringify(toJson(document, options.expected))}\n`);
    else io.out(`${summary(document, options.expected).join("\n")}\n`);
    return 0;
  } catch (error) {
    return report(error, args, io);
  }
}

function report(error: unknown, args: readonly string[], io: CommandIo): number {
  if (error instanceof UsageError || (error instanceof AttestationError && error.step === 0)) {
    io.err(`cloister attestation verify: ${error.message}\n`);
    return 2;
  }
  if (!(error instanceof AttestationError)) throw error;
  const { code, step, expected, got } = error;
  if (args.includes("--json")) io.out(`${JSON.stringify({ verified: false, code, step, expected, got })}\n`);
  io.err(`refused: ${code} (step ${step}): ${error.message}\n`);
  return 1;
}

function summary(document: UnverifiedAttestation, expected: ExpectedAttestation): string[] {
  const lines = [
    `verified: ${printable(document.moduleId)} at ${new Date(document.timestampMs).toISOString()}`,
    ...[...document.pcrs]
      .filter(([, value]) => value.some((byte) => byte !== 0))
      .map(([n, value]) => `PCR${n} ${hexOf(value)}`),
  ];
  if (expected.pcrs === "unchecked") lines.push("not checked: which image runs (--pcr)");
  if (expected.nonce === "unchecked") lines.push("not checked: that the document is new (--nonce)");
  if (expected.atMs === "document") lines.push("not checked: when the document was made (--at document)");
  return lines;
}

function toJson(document: UnverifiedAttestation, expected: ExpectedAttestation): object {
  return {
    verified: true,
    checked: {
      pcrs: expected.pcrs !== "unchecked",
      nonce: expected.nonce !== "unchecked",
      time: expected.atMs !== "document",
      roots: expected.roots.map(({ name }) => name),
    },
    ...documentToJson(document),
  };
}

/** Bytes as hex, times as ISO 8601, absent fields as null. */
export function documentToJson(document: UnverifiedAttestation): object {
  const { moduleId, digest, timestampMs, pcrs, publicKey, userData, nonce } = document;
  const hexOrNull = (bytes: Uint8Array | null): string | null => (bytes === null ? null : hexOf(bytes));
  return {
    moduleId,
    digest,
    timestamp: new Date(timestampMs).toISOString(),
    pcrs: Object.fromEntries([...pcrs].map(([index, value]) => [index, hexOf(value)])),
    publicKey: hexOrNull(publicKey),
    userData: hexOrNull(userData),
    nonce: hexOrNull(nonce),
  };
}
