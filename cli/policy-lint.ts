/** `cloister policy lint`: what in a policy cannot mean what was meant. */
import { lintPolicy, type PolicyFinding } from "../enclave/index.ts";
import { type CommandIo, printable } from "./command-io.ts";
import { onePositional, parseOptions } from "./command-options.ts";
import { readPolicy, reporting } from "./policy-options.ts";

const HELP = `Usage: cloister policy lint FILE|- [options]

FILE is a policy, or an app's configuration with one. Errors are certain: rules that no request is decided by. That nothing
is found does not say that the policy is right.

  --strict   fail on warnings too
  --json     print JSON
  --help     show this

Exit status: 0 no error, 1 errors (with --strict: or warnings), 2 wrong usage, or no policy.
`;

/** @returns The exit status. */
export function lintCommand(args: readonly string[], io: CommandIo): Promise<number> {
  return reporting("lint", io, async () => {
    const { values, positionals } = parseOptions(args, {
      strict: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    });
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    const path = onePositional(positionals, "FILE");
    const findings = lintPolicy(await readPolicy(path, io));
    io.out(values.json ? `${JSON.stringify({ file: path, findings }, null, 2)}\n` : draw(path, findings));
    return findings.some(({ severity }) => severity === "error" || values.strict) ? 1 : 0;
  });
}

function draw(path: string, findings: readonly PolicyFinding[]): string {
  if (findings.length === 0) return `${path}: nothing found\n`;
  const drawn = findings.map(({ severity, code, rule, message }) => {
    return `${path}: ${severity} ${code}${rule === null ? "" : ` [${rule}]`}: ${printable(message)}`;
  });
  const errors = findings.filter(({ severity }) => severity === "error").length;
  return `${drawn.join("\n")}\n${errors} errors, ${findings.length - errors} warnings\n`;
}
