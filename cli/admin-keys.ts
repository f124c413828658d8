import { createKeyFile, publicKeyOfFile } from "../client-node/index.ts";
import type { CommandIo } from "./command-io.ts";
import { onePositional, parseOptions } from "./command-options.ts";
import { PASSPHRASE_OPTIONS, readPassphrase } from "./passphrase.ts";

export async function initCommand(args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = parseOptions(args, PASSPHRASE_OPTIONS);
  const file = onePositional(positionals, "FILE");
  const passphrase = await readPassphrase(file, values, io, "new");
  io.out(`${await createKeyFile(file, passphrase)}\n`);
}

export async function publicKeyCommand(args: readonly string[], io: CommandIo): Promise<void> {
  const { positionals } = parseOptions(args, {});
  io.out(`${await publicKeyOfFile(onePositional(positionals, "FILE"))}\n`);
}
