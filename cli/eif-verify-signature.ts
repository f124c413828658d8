/** `cloister eif verify-signature`: whether an image's certificate signed that image. */
import { readEif, verifyEifSignature } from "../eif/index.ts";
import { type CommandIo, printable } from "./command-io.ts";
import { reading, readTime, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif verify-signature FILE [--at TIME]

Checks that the key of the certificate in the image signed PCR0, that this PCR0 is the one the image has, and that the
certificate is valid at TIME (now unless given, such as 2026-01-31T12:00:00Z). Who holds that key, no image can say:
compare the PCR8 that is printed with the one you expect.

Exit status: 0 verified, 1 refused, 2 wrong usage.
`;

/** @returns The exit status. */
export async function verifyEifSignatureCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { at: { type: "string" } } as const;
  const command = { name: "verify-signature", help: HELP, options, files: ["FILE"] };
  return runEifCommand(command, args, io, async ({ at }, [path = ""]) => {
    const atMs = readTime(at, io);
    const eif = await readEif(path, reading(io, "verify-signature", path, "measuring"));
    const { certificate, measurements } = verifyEifSignature(eif, atMs);
    io.out(`signed by ${printable(certificate.subject.replaceAll("\n", ", "))}\n`);
    io.out(`PCR0 ${measurements.PCR0}\nPCR8 ${measurements.PCR8}\n`);
    return 0;
  });
}
