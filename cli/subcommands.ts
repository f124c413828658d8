/** Commands that consist of others, such as `cloister eif build`. */
import type { CommandIo } from "./command-io.ts";

type Subcommand<Io extends CommandIo> = (args: readonly string[], io: Io) => Promise<number>;

/** @returns The exit status of the subcommand that is named first; 2 where there is none of that name. */
export async function runSubcommand<Io extends CommandIo>(
  [name, ...args]: readonly string[],
  io: Io,
  command: { readonly help: string; readonly subcommands: Readonly<Record<string, Subcommand<Io>>> },
): Promise<number> {
  const { help, subcommands } = command;
  const subcommand = name !== undefined && Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (subcommand !== undefined) return subcommand(args, io);
  if (name === "--help") {
    io.out(help);
    return 0;
  }
  io.err(help);
  return 2;
}
