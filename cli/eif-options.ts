/** What the `cloister eif` commands have in common: options, refusals, and progress. */
import type { ParseArgsOptionsConfig } from "node:util";
import { EifError, type ReadOptions } from "../eif/index.ts";
import { type CommandIo, printable, UsageError } from "./command-io.ts";
import { parseOptions, parseTime, readGiven } from "./command-options.ts";

/**
 * Runs one command: help, exit status, and how a refusal is told.
 *
 * @returns 0 done, 1 refused, 2 wrong usage; or what `work` says.
 */
export async function runEifCommand<const T extends ParseArgsOptionsConfig>(
  command: { readonly name: string; readonly help: string; readonly options: T; readonly files: readonly string[] },
  args: readonly string[],
  io: CommandIo,
  work: (values: ReturnType<typeof parseOptions<T>>["values"], files: readonly string[]) => Promise<number>,
): Promise<number> {
  try {
    if (args.includes("--help")) {
      io.out(command.help);
      return 0;
    }
    const { values, positionals } = parseOptions(args, command.options);
    if (positionals.length !== command.files.length) {
      throw new UsageError(`expected ${command.files.join(" and ")}, got ${positionals.length} of them`);
    }
    return await work(values, positionals);
  } catch (error) {
    if (error instanceof UsageError) {
      io.err(`cloister eif ${command.name}: ${printable(error.message)}\n`);
      return 2;
    }
    if (error instanceof EifError) io.err(`cloister eif ${command.name}: ${error.code}: ${printable(error.message)}\n`);
    // No such folder, no space, no permission: the system's own words, without a stack.
    else if (isSystemError(error)) io.err(`cloister eif ${command.name}: ${printable(error.message)}\n`);
    else throw error;
    return 1;
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}

/** A file that the user named as an option. @throws {@link UsageError} */
export async function readOptionFile(path: string, io: CommandIo): Promise<string> {
  return Buffer.from(await readGiven(path, io)).toString("utf8");
}

/** @throws {@link UsageError} */
export function readTime(text: string | undefined, io: CommandIo): number {
  if (text === undefined || text === "now") return io.nowMs();
  const ms = parseTime(text);
  if (ms === null) throw new UsageError("--at: expected now, or a time such as 2026-01-31T12:00:00Z");
  return ms;
}

const PROGRESS_STEP = 0.02;

/** A line of progress that is drawn over itself, for a terminal only; it is gone at the end. */
export function progress(io: CommandIo, what: string): ReadOptions {
  if (io.isErrTerminal !== true) return {};
  let shown = 0;
  return {
    onProgress: (doneBytes, ofBytes) => {
      const share = doneBytes / ofBytes;
      if (share < 1 && share - shown < PROGRESS_STEP) return;
      shown = share;
      io.err(share >= 1 ? "\r\u001b[K" : `\r${what} ${Math.floor(share * 100)} %\u001b[K`);
    },
  };
}

/**
 * How the commands read an image that they do not judge: with progress, and a warning where AWS's sign-eif has left an old
 * size in the table.
 */
export function reading(io: CommandIo, command: string, path: string, what: string): ReadOptions {
  return {
    ...progress(io, what),
    onStaleSignatureSize: ({ code, message }) =>
      io.err(
        `cloister eif ${command}: warning: ${printable(path)}: ${code}: ${printable(message)}; AWS's sign-eif leaves that, PCR0 to PCR2 do not depend on it, and "cloister eif sign" mends it\n`,
      ),
  };
}

export function bytesText(bytes: number | bigint): string {
  return bytes.toString().replaceAll(/\B(?=(\d{3})+$)/g, ",");
}
