/** `cloister events`: checks a file of a user's events without asking anybody. */
import { createReadStream } from "node:fs";
import { EventsError, verifyEvents } from "../client/index.ts";
import { type ListedEvent, listedEvent, MAX_EVENT_BYTES, parseStrictJson, type UserEvent } from "../protocol/index.ts";
import { type CommandIo, printable, processIo, UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";

const HELP = `Usage: cloister events verify FILE --key HEX

Verifies that a user's events are whole: signed by the vault's event key, each naming the one before, from the first on.
FILE holds one event a line, {"event":"…","signature":"…"}, as "list_events" gives them; "-" is standard input.

  --key HEX    the vault's event key, 32 bytes: take it from a verified answer, not from where the file came from
  --help       show this

Exit status: 0 the events are whole, 1 they are not, 2 wrong usage.
`;

const OPTIONS = { key: { type: "string" }, help: { type: "boolean", default: false } } as const;

/** Twice what one event can have. */
const MAX_LINE_LENGTH = 2 * MAX_EVENT_BYTES;

/**
 * @param lines - A file's lines, as they come: a history has no limit.
 * @returns The exit status.
 */
export async function run(
  args: readonly string[],
  io: CommandIo = processIo,
  lines: (path: string) => AsyncIterable<string> = fileLines,
): Promise<number> {
  try {
    const options = readOptions(args);
    if (options === null) {
      io.out(HELP);
      return 0;
    }
    const events = await verifyEvents(parseLines(lines(options.file)), options.key);
    for (const event of events) io.out(`${lineOf(event)}\n`);
    io.out(`✓ ${events.length} events, none missing before the last\n`);
    return 0;
  } catch (error) {
    if (error instanceof EventsError) {
      io.err(`cloister events: ${error.code}: ${error.message}\n`);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    io.err(`cloister events: ${error.message}; "cloister events --help" tells more\n`);
    return 2;
  }
}

function lineOf({ seq, atMs, kind, by, details }: UserEvent): string {
  const more = Object.entries(details).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return printable([seq, new Date(atMs).toISOString(), kind, `by ${by}`, ...more].join("  "));
}

async function* parseLines(lines: AsyncIterable<string>): AsyncGenerator<ListedEvent> {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (line.trim() !== "") yield parseLine(line, number);
  }
}

async function* fileLines(path: string): AsyncGenerator<string> {
  const stream = path === "-" ? process.stdin : createReadStream(path);
  const decoder = new TextDecoder();
  let held = "";
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    const parts = (held + decoder.decode(chunk, { stream: true })).split("\n");
    held = parts.pop() ?? "";
    yield* parts;
    if (held.length > MAX_LINE_LENGTH) throw new EventsError("EVENT_MALFORMED", "a line longer than any event");
  }
  yield held;
}

function parseLine(line: string, number: number): ListedEvent {
  try {
    return listedEvent.parse(parseStrictJson(new TextEncoder().encode(line))) as ListedEvent;
  } catch (cause) {
    throw new EventsError("EVENT_MALFORMED", `line ${number} is not {"event":"…","signature":"…"}`, { cause });
  }
}

/** @returns Null where help was asked for. */
function readOptions(args: readonly string[]): { readonly file: string; readonly key: string } | null {
  const { values, positionals } = parseOptions(args, OPTIONS);
  if (values.help) return null;
  const [command, file, ...others] = positionals;
  if (command !== "verify" || file === undefined || others.length > 0) throw new UsageError("expected verify FILE");
  if (!/^[0-9a-f]{64}$/.test(values.key ?? "")) throw new UsageError("--key is needed: 32 bytes in lower-case hex");
  return { file, key: values.key ?? "" };
}
