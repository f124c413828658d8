/** How commands read the words that they are called with, and the files that these name. */
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { type CommandIo, UsageError } from "./command-io.ts";

/** @throws {@link UsageError} */
export function parseOptions<Config extends ParseArgsOptionsConfig>(args: readonly string[], options: Config) {
  return orUsageError(() => parseArgs({ args: [...args], allowPositionals: true, options }));
}

/** Where there is nothing else to be said. @throws {@link UsageError} */
export function parseOptionsAlone<Config extends ParseArgsOptionsConfig>(args: readonly string[], options: Config) {
  return orUsageError(() => parseArgs({ args: [...args], options }).values);
}

function orUsageError<Parsed>(parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (cause) {
    // Node goes on about words that begin with a dash; whoever mistyped an option looks for its name.
    throw new UsageError((cause as Error).message.replace(/\. To specify a positional argument .*/s, ""), { cause });
  }
}

/** @throws {@link UsageError} */
export function onePositional(positionals: readonly string[], what: string): string {
  const [first, ...others] = positionals;
  if (first === undefined || others.length > 0) throw new UsageError(`expected one ${what}, got ${positionals.length}`);
  return first;
}

/** @throws {@link UsageError} */
export function required(value: string | undefined, option: string): string {
  if (value === undefined || value === "") throw new UsageError(`${option} is required`);
  return value;
}

/** @throws {@link UsageError} */
export async function readGiven(path: string, io: CommandIo): Promise<Uint8Array> {
  try {
    return await io.read(path);
  } catch (cause) {
    throw new UsageError(`cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** ISO 8601 with its zone, such as 2026-01-31T12:00:00Z; null for anything else. */
export function parseTime(text: string): number | null {
  const form = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;
  const ms = form.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? null : ms;
}
