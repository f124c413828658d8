/** `cloister kms-policy`: write, check, rotate and try the KMS key policy. */
import { writeFile } from "node:fs/promises";
import { processIo } from "./command-io.ts";
import { generateCommand } from "./kms-policy-generate.ts";
import { lintCommand } from "./kms-policy-lint.ts";
import type { KmsPolicyIo } from "./kms-policy-options.ts";
import { rotateCommand } from "./kms-policy-rotate.ts";
import { simulateCommand } from "./kms-policy-simulate.ts";
import { runSubcommand } from "./subcommands.ts";

const HELP = `Usage: cloister kms-policy <generate|lint|rotate|simulate> [options]

  generate   write the key policy for given measurements, roles and administrators
  lint       find where a key policy lets somebody round attestation
  rotate     write the three policies of an upgrade, with the commands
  simulate   answer whether KMS would allow a request

"cloister kms-policy generate --help" lists the options; docs/kms-policy.md explains every statement.
`;

const io: KmsPolicyIo = {
  ...processIo,
  write: (path, text) => writeFile(path, text, { flag: "wx" }),
};

/** @returns The exit status: 0 done, clean or allowed; 1 findings or denied; 2 wrong usage. */
export function run(args: readonly string[]): Promise<number> {
  return runSubcommand(args, io, {
    help: HELP,
    subcommands: { generate: generateCommand, lint: lintCommand, rotate: rotateCommand, simulate: simulateCommand },
  });
}
