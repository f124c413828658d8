/** `cloister attestation`: verify or inspect attestation documents. */
import { inspectAttestationCommand } from "./attestation-inspect.ts";
import { verifyAttestationCommand } from "./attestation-verify.ts";
import { processIo } from "./command-io.ts";
import { runSubcommand } from "./subcommands.ts";

const HELP = `Usage: cloister attestation <verify|inspect> [FILE] [options]

  verify     exit 0 if a document proves what the options demand, 1 if it does not
  inspect    show everything in a document, and each check

"cloister attestation verify --help" lists the options; docs/verify-an-attestation.md explains each check.
`;

/** @returns The exit status: 0 verified or shown, 1 refused, 2 wrong usage. */
export function run(args: readonly string[]): Promise<number> {
  return runSubcommand(args, processIo, {
    help: HELP,
    subcommands: { verify: verifyAttestationCommand, inspect: inspectAttestationCommand },
  });
}
