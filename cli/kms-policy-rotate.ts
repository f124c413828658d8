/** `cloister kms-policy rotate`: the three policies of an upgrade, and what to do between them. */
import { join } from "node:path";
import { formatKeyPolicy, type Rotation, rotateKeyPolicy } from "../kms-policy/index.ts";
import { UsageError } from "./command-io.ts";
import { parseOptions, required } from "./command-options.ts";
import {
  type KmsPolicyIo,
  PRINCIPALS_HELP,
  PRINCIPALS_OPTIONS,
  readPcrChoice,
  readPcrSets,
  readPrincipals,
  reporting,
} from "./kms-policy-options.ts";

const HELP = `Usage: cloister kms-policy rotate --old FILE --new FILE --key ID --role ARN --break-glass ARN [options]

Plans the upgrade from one image to the next: "overlap" admits both, "cut" admits the new and denies the old by name,
"final" is what "generate" makes for the new. Prints the policies and the commands; with --out writes the policies.

${PRINCIPALS_HELP}
  --key ID               the key's id or ARN, for the commands
  --old FILE             measurements of the image that runs, as nitro-cli prints them; may be repeated
  --new FILE             measurements of the next
  --old-by, --new-by image|signer   take from them PCR0 (default), or PCR8 together with the PCR3 of --role
  --old-pcrs, --new-pcrs N=HEX,…    a set of PCRs by hand
  --out FOLDER           write 1-overlap.json, 2-cut.json and 3-final.json there; existing files are kept
  --json                 print JSON
  --help                 show this

Exit status: 0 planned, 2 wrong usage.
`;

/** @returns The exit status. */
export function rotateCommand(args: readonly string[], io: KmsPolicyIo): Promise<number> {
  return reporting("rotate", io, async () => {
    const { values, positionals } = parseOptions(args, {
      ...PRINCIPALS_OPTIONS,
      key: { type: "string" },
      old: { type: "string", multiple: true, default: [] },
      new: { type: "string", multiple: true, default: [] },
      "old-by": { type: "string", default: "image" },
      "new-by": { type: "string", default: "image" },
      "old-pcrs": { type: "string", multiple: true, default: [] },
      "new-pcrs": { type: "string", multiple: true, default: [] },
      out: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    });
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
    const principals = readPrincipals(values);
    const setsOf = async (side: "old" | "new") => {
      const by = readPcrChoice(values[`${side}-by`]);
      const option = `--${side}-pcrs`;
      const given = { measurements: values[side], pcrs: values[`${side}-pcrs`], by, option };
      const sets = await readPcrSets({ ...given, roleArn: principals.roleArn }, io);
      if (sets.length === 0) throw new UsageError(`--${side} or ${option} is required`);
      return sets;
    };
    const old = { ...principals, pcrSets: await setsOf("old") };
    const rotation = rotateKeyPolicy(old, await setsOf("new"), required(values.key, "--key"));
    if (values.out !== undefined) await writePolicies(rotation, values.out, io);
    if (values.json) io.out(`${JSON.stringify(rotation, null, 2)}\n`);
    else io.out(draw(rotation, values.out ?? null));
    return 0;
  });
}

async function writePolicies({ steps }: Rotation, folder: string, io: KmsPolicyIo): Promise<void> {
  for (const { fileName, policy } of steps) {
    const path = join(folder, fileName);
    try {
      await io.write(path, formatKeyPolicy(policy));
    } catch (cause) {
      throw new UsageError(`cannot write ${path}: ${(cause as Error).message}`, { cause });
    }
  }
}

function draw({ steps }: Rotation, folder: string | null): string {
  const where = folder === null ? "beside the three policies below" : `in ${folder}`;
  const drawn = steps.flatMap(({ name, effect, commands, next }, at) => [
    `${at + 1}. ${name}: ${effect}`,
    ...commands.map((command) => `   $ ${command}`),
    ...next.map((todo) => `   - ${todo}`),
    "",
  ]);
  const plan = [`Run the commands as the break-glass role, ${where}.`, "", ...drawn].join("\n");
  if (folder !== null) return plan;
  return plan + steps.map(({ fileName, policy }) => `--- ${fileName}\n${formatKeyPolicy(policy)}`).join("");
}
