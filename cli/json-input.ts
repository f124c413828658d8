import { type JsonValue, ProtocolError, parseStrictJson } from "../protocol/index.ts";
import { type CommandIo, UsageError } from "./command-io.ts";
import { readGiven } from "./command-options.ts";

/** As strict as the enclave. @throws {@link UsageError} */
export async function readJson(path: string, io: CommandIo): Promise<JsonValue> {
  const bytes = await readGiven(path, io);
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new UsageError(`cannot read ${path}: not JSON: ${cause.message}`, { cause });
  }
}
