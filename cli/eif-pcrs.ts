/** `cloister eif pcrs`: the measurements, for scripts. */
import { readEif } from "../eif/index.ts";
import { type CommandIo, printableJson } from "./command-io.ts";
import { reading, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif pcrs FILE

Prints the measurements of an image as nitro-cli build-enclave does: JSON with HashAlgorithm, PCR0, PCR1 and PCR2, and PCR8
of a signed image. An image that breaks a rule of the format is refused: it may be measured otherwise than it is shown. Of
an old size that AWS's sign-eif leaves in the table (STALE_SIGNATURE_SIZE) it only warns: PCR0 to PCR2 do not depend on that.

Exit status: 0 printed, 1 refused, 2 wrong usage.
`;

/** @returns The exit status. */
export async function eifPcrsCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const command = { name: "pcrs", help: HELP, options: {}, files: ["FILE"] };
  return runEifCommand(command, args, io, async (_, [path = ""]) => {
    const { measurements } = await readEif(path, reading(io, "pcrs", path, "measuring"));
    io.out(`${printableJson({ Measurements: measurements })}\n`);
    return 0;
  });
}
