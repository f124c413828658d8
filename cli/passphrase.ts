/** Passphrases: from the terminal without showing them, or from where a script has them. Never from an argument. */
import { type CommandIo, UsageError } from "./command-io.ts";
import { readGiven } from "./command-options.ts";

export interface PassphraseOptions {
  readonly "passphrase-file"?: string | undefined;
  readonly "passphrase-env"?: string | undefined;
}

export const PASSPHRASE_OPTIONS = {
  "passphrase-file": { type: "string" },
  "passphrase-env": { type: "string" },
} as const;

export const PASSPHRASE_HELP = `  --passphrase-file FILE  its first line is the passphrase (/dev/fd/3 reads one from a descriptor)
  --passphrase-env NAME   the environment variable that has it; without either, it is asked for`;

/** For a new key; longer than what is guessed in an afternoon. */
const MIN_LENGTH = 8;
const INTERRUPT = "\u0003";
const BACKSPACES = ["\u007f", "\b"];

/**
 * @param purpose - `new`: asked for twice, and not too short.
 * @throws {@link UsageError}
 */
export async function readPassphrase(
  label: string,
  options: PassphraseOptions,
  io: CommandIo,
  purpose: "new" | "open",
): Promise<string> {
  const given = await givenPassphrase(options, io);
  const passphrase = given ?? (await ask(`Passphrase for ${label}: `, io));
  if (purpose === "open") return passphrase;
  if (passphrase.length < MIN_LENGTH) throw new UsageError(`a passphrase of at least ${MIN_LENGTH} characters, please`);
  if (given === null && (await ask("The same again: ", io)) !== passphrase) {
    throw new UsageError("the two passphrases differ");
  }
  return passphrase;
}

async function givenPassphrase(options: PassphraseOptions, io: CommandIo): Promise<string | null> {
  const { "passphrase-file": file, "passphrase-env": variable } = options;
  if (file !== undefined && variable !== undefined) {
    throw new UsageError("--passphrase-file and --passphrase-env: give one of them");
  }
  if (file !== undefined) {
    const [line = ""] = Buffer.from(await readGiven(file, io))
      .toString("utf8")
      .split(/\r?\n/);
    return line;
  }
  if (variable === undefined) return null;
  const value = process.env[variable];
  if (value === undefined) throw new UsageError(`--passphrase-env: ${variable} is not set`);
  return value;
}

/** Reads a line from the terminal in raw mode, which shows nothing of it. */
async function ask(prompt: string, io: CommandIo): Promise<string> {
  const { stdin } = process;
  if (!stdin.isTTY)
    throw new UsageError("no terminal to ask for a passphrase: give --passphrase-file or --passphrase-env");
  // Before the prompt: whoever types at once must not see it either.
  stdin.setRawMode(true).setEncoding("utf8");
  io.err(prompt);
  let line = "";
  try {
    for await (const chunk of stdin.iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
      for (const character of chunk) {
        if (character === "\r" || character === "\n") return line;
        if (character === INTERRUPT) throw new UsageError("interrupted");
        line = BACKSPACES.includes(character) ? line.slice(0, -1) : line + character;
      }
    }
    return line;
  } finally {
    stdin.setRawMode(false).pause();
    io.err("\n");
  }
}
