/** `cloister attestation`: verify or inspect attestation documents. */
import { open } from "node:fs/promises";
import { inspectAttestationCommand } from "./attestation-inspect.ts";
import { type AttestationIo, MAX_INPUT_BYTES } from "./attestation-options.ts";
import { verifyAttestationCommand } from "./attestation-verify.ts";

const HELP = `Usage: cloister attestation <verify|inspect> [FILE] [options]

  verify     exit 0 if a document proves what the options demand, 1 if it does not
  inspect    show everything in a document, and each check

"cloister attestation verify --help" lists the options; docs/verify-an-attestation.md explains each check.
`;

const io: AttestationIo = {
  read: (path) => (path === "-" ? readStream(process.stdin) : readFile(path)),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  nowMs: Date.now,
};

/** @returns The exit status: 0 verified or shown, 1 refused, 2 wrong usage. */
export async function run([command, ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "verify":
      return verifyAttestationCommand(args, io);
    case "inspect":
      return inspectAttestationCommand(args, io);
    case "--help":
      io.out(HELP);
      return 0;
    default:
      io.err(HELP);
      return 2;
  }
}

async function readFile(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    return await readStream(file.createReadStream());
  } finally {
    await file.close();
  }
}

/** Stops as soon as there is more than any document: a device or a pipe may have no end. */
async function readStream(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_INPUT_BYTES) break;
  }
  return Buffer.concat(chunks);
}
