/** `cloister kms-policy`: write, check, rotate and try the KMS key policy. */
import { open, writeFile } from "node:fs/promises";
import { MAX_INPUT_BYTES } from "./attestation-options.ts";
import { generateCommand } from "./kms-policy-generate.ts";
import { lintCommand } from "./kms-policy-lint.ts";
import type { KmsPolicyIo } from "./kms-policy-options.ts";
import { rotateCommand } from "./kms-policy-rotate.ts";
import { simulateCommand } from "./kms-policy-simulate.ts";

const HELP = `Usage: cloister kms-policy <generate|lint|rotate|simulate> [options]

  generate   write the key policy for given measurements, roles and administrators
  lint       find where a key policy lets somebody round attestation
  rotate     write the three policies of an upgrade, with the commands
  simulate   answer whether KMS would allow a request

"cloister kms-policy generate --help" lists the options; docs/kms-policy.md explains every statement.
`;

const io: KmsPolicyIo = {
  read: (path) => (path === "-" ? readStream(process.stdin) : readFile(path)),
  write: (path, text) => writeFile(path, text, { flag: "wx" }),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  nowMs: Date.now,
};

/** @returns The exit status: 0 done, clean or allowed; 1 findings or denied; 2 wrong usage. */
export async function run([command, ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case "generate":
      return generateCommand(args, io);
    case "lint":
      return lintCommand(args, io);
    case "rotate":
      return rotateCommand(args, io);
    case "simulate":
      return simulateCommand(args, io);
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

/** Stops as soon as there is more than any policy or document: a device or a pipe may have no end. */
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
