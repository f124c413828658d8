/** `cloister kms-policy`: write, check, rotate and try the KMS key policy. */
import { writeFile } from "node:fs/promises";
import { processIo } from "./command-io.ts";
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
  ...processIo,
  write: (path, text) => writeFile(path, text, { flag: "wx" }),
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
