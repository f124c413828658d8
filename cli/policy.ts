/** `cloister policy`: try policies, and find what in them cannot mean what was meant. */
import { processIo } from "./command-io.ts";
import { checkCommand } from "./policy-check.ts";
import { lintCommand } from "./policy-lint.ts";
import { runSubcommand } from "./subcommands.ts";

const HELP = `Usage: cloister policy <check|lint> [options]

  check   judge a transaction by policies, as the enclave would, and say why
  lint    find rules that never match, that others shadow, or that allow too much

"cloister policy check --help" lists the options; docs/policies.md explains the documents.
`;

/** @returns The exit status: 0 allowed or clean; 1 denied or findings; 2 wrong usage. */
export function run(args: readonly string[]): Promise<number> {
  return runSubcommand(args, processIo, { help: HELP, subcommands: { check: checkCommand, lint: lintCommand } });
}
