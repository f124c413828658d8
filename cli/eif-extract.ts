/** `cloister eif extract`: an image as files. */
import { extractEif, readEif } from "../eif/index.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";
import { reading, runEifCommand } from "./eif-options.ts";

const HELP = `Usage: cloister eif extract FILE --out DIR [--files]

Writes kernel, cmdline, metadata.json, ramdisk-N.cpio (with .gz or .zst where it is compressed), signature.cbor and
certificate.pem to DIR, which is made or must be empty.

  --files  unpack the ramdisks too, each into a folder ramdisk-N. No name leads out of it, nothing is written through a
           link, owners are not set, set-user-id bits are dropped. Devices and what else is left out is listed.

Exit status: 0 written, 1 refused, 2 wrong usage.
`;

/** @returns The exit status. */
export async function extractEifCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { out: { type: "string" }, files: { type: "boolean", default: false } } as const;
  const command = { name: "extract", help: HELP, options, files: ["FILE"] };
  return runEifCommand(command, args, io, async ({ out, files: unpack }, [path = ""]) => {
    if (out === undefined) throw new UsageError("expected --out DIR");
    const eif = await readEif(path, reading(io, "extract", path, "reading"));
    const { files, leftOut } = await extractEif(eif, out, unpack);
    for (const file of files) io.out(`${file}\n`);
    for (const { ramdisk, name, why } of leftOut) {
      io.err(`cloister eif extract: left out of ramdisk-${ramdisk}: ${printable(name)}: ${printable(why)}\n`);
    }
    return 0;
  });
}
