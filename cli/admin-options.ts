import { type ParseArgsConfig, parseArgs } from "node:util";
import { type JsonValue, ProtocolError, parseStrictJson } from "../protocol/index.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readInput } from "./enclave-options.ts";

/** `parseArgs`, whose complaints are about usage. @throws {@link UsageError} */
export function parseOptions<Config extends ParseArgsConfig>(config: Config): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs<Config>(config);
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

/** @throws {@link UsageError} */
export function onePositional(positionals: readonly string[], what: string): string {
  const [first, ...others] = positionals;
  if (first === undefined || others.length > 0) throw new UsageError(`expected one ${what}`);
  return first;
}

/** As strict as the enclave will be, so that an error shows before anybody stamps. @throws {@link UsageError} */
export async function readJson(file: string, option: string, io: CommandIo): Promise<JsonValue> {
  const bytes = await readInput(file, option, io);
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new UsageError(`${option}: ${file}: ${cause.message}`, { cause });
  }
}
