/** `cloister kms-policy generate`: measurements in, key policy out. */
import { formatKeyPolicy, generateKeyPolicy } from "../kms-policy/index.ts";
import { UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";
import {
  type KmsPolicyIo,
  PRINCIPALS_HELP,
  PRINCIPALS_OPTIONS,
  readPcrChoice,
  readPcrSets,
  readPrincipals,
  reporting,
} from "./kms-policy-options.ts";

const HELP = `Usage: cloister kms-policy generate --role ARN --break-glass ARN --measurements FILE [options]

Writes the key policy that lets the measured enclave call Decrypt and GenerateDataKey, and nobody else anything that
goes round that. The same options make the same bytes.

${PRINCIPALS_HELP}
  --measurements FILE    of an image, as nitro-cli prints them; "-" is standard input; repeated: any of the images
  --by image|signer      take from them PCR0 (default), or PCR8 together with the PCR3 of --role
  --pcrs N=HEX,N=HEX     a set of PCRs by hand: PCR0, or PCR8 and PCR3, and any others; repeated: any of the sets
  --closed               no image yet: nobody may use the key
  --help                 show this

Exit status: 0 written, 2 wrong usage.
`;

/** @returns The exit status. */
export function generateCommand(args: readonly string[], io: KmsPolicyIo): Promise<number> {
  return reporting("generate", io, async () => {
    const { values, positionals } = parseOptions(args, {
      ...PRINCIPALS_OPTIONS,
      measurements: { type: "string", multiple: true, default: [] },
      by: { type: "string", default: "image" },
      pcrs: { type: "string", multiple: true, default: [] },
      closed: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    });
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
    const principals = readPrincipals(values);
    const { measurements, pcrs } = values;
    const by = readPcrChoice(values.by);
    const pcrSets = await readPcrSets({ pcrs, measurements, by, option: "--pcrs", roleArn: principals.roleArn }, io);
    if ((pcrSets.length === 0) !== values.closed) {
      throw new UsageError("expected --measurements or --pcrs, or --closed for a key that nobody may use yet");
    }
    io.out(formatKeyPolicy(generateKeyPolicy({ ...principals, pcrSets })));
    return 0;
  });
}
