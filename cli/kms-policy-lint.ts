/** `cloister kms-policy lint`: where a key policy is open. */
import { type Finding, lintKeyPolicy } from "../kms-policy/index.ts";
import { printable } from "./command-io.ts";
import { onePositional, parseOptions } from "./command-options.ts";
import { type KmsPolicyIo, readText, reporting } from "./kms-policy-options.ts";

const HELP = `Usage: cloister kms-policy lint FILE|- [options]

Says where a key policy lets somebody round attestation, each with line, code, attack and repair. No finding is no proof:
IAM policies, grants that exist, and who may assume the roles are not in the file.

  --break-glass ARN      who may change the policy (default: whoever alone is named for kms:PutKeyPolicy)
  --key-arn ARN          the key, if statements name it in Resource
  --strict               fail on warnings too
  --json                 print JSON
  --help                 show this

Exit status: 0 no error, 1 errors (with --strict: or warnings), 2 wrong usage.
`;

/** @returns The exit status. */
export function lintCommand(args: readonly string[], io: KmsPolicyIo): Promise<number> {
  return reporting("lint", io, async () => {
    const { values, positionals } = parseOptions(args, {
      "break-glass": { type: "string" },
      "key-arn": { type: "string" },
      strict: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    });
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    const path = onePositional(positionals, "FILE");
    const findings = lintKeyPolicy(await readText(path, io), {
      ...(values["break-glass"] === undefined ? {} : { breakGlassRoleArn: values["break-glass"] }),
      ...(values["key-arn"] === undefined ? {} : { keyArn: values["key-arn"] }),
    });
    io.out(values.json ? `${JSON.stringify({ file: path, findings }, null, 2)}\n` : draw(path, findings));
    return findings.some(({ severity }) => severity === "error" || values.strict) ? 1 : 0;
  });
}

function draw(path: string, findings: readonly Finding[]): string {
  if (findings.length === 0) return `${path}: nothing found\n`;
  const drawn = findings.map(({ line, column, severity, code, statement, message, attack, repair }) => {
    const where = statement === null ? "" : ` [${printable(statement)}]`;
    return [
      `${path}:${line}:${column}: ${severity} ${code}${where}: ${printable(message)}`,
      `    attack: ${attack}`,
      `    repair: ${repair}`,
    ].join("\n");
  });
  const errors = findings.filter(({ severity }) => severity === "error").length;
  return `${drawn.join("\n")}\n${errors} errors, ${findings.length - errors} warnings\n`;
}
