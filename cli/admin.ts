/** `cloister admin`: administrators' keys, and what they do with them. */
import { AttestationError } from "../attestation/index.ts";
import { ClientError, RefusedError } from "../client/index.ts";
import { KeyFileError } from "../client-node/index.ts";
import { appsCommand } from "./admin-apps.ts";
import { initCommand, publicKeyCommand } from "./admin-keys.ts";
import { prepareCommand, sendCommand, stampCommand } from "./admin-request.ts";
import { type CommandIo, processIo, UsageError } from "./command-io.ts";
import { ENCLAVE_HELP } from "./enclave-options.ts";
import { PASSPHRASE_HELP } from "./passphrase.ts";

const HELP = `Usage: cloister admin <command> [options]

Keys
  init FILE                        make a P-256 key and write it, encrypted; never over another file
  public-key FILE                  print its public key, as the manifest names it

One request by several administrators, who need not meet
  prepare OPERATION --params FILE --deployment NAME --out FILE
                                   write down a request; it can be sent for an hour from then
  stamp FILE --key FILE --out FILE show what is asked, and add a stamp
  send FILE… <enclave>             send it, with all stamps that are in these files

At once, with as many --key as the manifest asks for
  create-app --params FILE         make an app; prints its id
  get-app APP                      print an app, as update-app takes it
  update-app APP --params FILE --expected-version N
                                   put a whole configuration in an app's place
  list-apps                        print ids, versions and names
  rotate-app-key APP --params FILE give an API key's name and permissions to another key

Options
${ENCLAVE_HELP}
  --key FILE           an administrator's key; repeat for more
${PASSPHRASE_HELP}
  --help               show this

Exit status: 0 done, 1 refused or failed, 2 wrong usage.
`;

type Command = (args: readonly string[], io: CommandIo) => Promise<void>;

const COMMANDS: Readonly<Record<string, Command>> = {
  init: initCommand,
  "public-key": publicKeyCommand,
  prepare: prepareCommand,
  stamp: stampCommand,
  send: sendCommand,
  "create-app": (args, io) => appsCommand("create-app", args, io),
  "get-app": (args, io) => appsCommand("get-app", args, io),
  "update-app": (args, io) => appsCommand("update-app", args, io),
  "list-apps": (args, io) => appsCommand("list-apps", args, io),
  "rotate-app-key": (args, io) => appsCommand("rotate-app-key", args, io),
};

/** @returns The exit status. */
export async function run([name, ...args]: readonly string[], io: CommandIo = processIo): Promise<number> {
  if (name === "--help" || args.includes("--help")) {
    io.out(HELP);
    return 0;
  }
  try {
    const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`expected one of ${Object.keys(COMMANDS).join(", ")}`);
    await command(args, io);
    return 0;
  } catch (error) {
    if (
      error instanceof RefusedError ||
      error instanceof ClientError ||
      error instanceof AttestationError ||
      error instanceof KeyFileError
    ) {
      io.err(`cloister admin: ${error.code}: ${error.message}\n`);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    io.err(`cloister admin: ${error.message}; "cloister admin --help" tells more\n`);
    return 2;
  }
}
