/** What commands have in common: the world outside, so that tests can stand in for it, and how they say no. */
import { open } from "node:fs/promises";

export interface CommandIo {
  /** A file's bytes, or standard input's for `-`. At most {@link MAX_INPUT_BYTES} and one more are needed. */
  read(path: string): Promise<Uint8Array>;
  out(text: string): void;
  err(text: string): void;
  nowMs(): number;
  /** Whether somebody watches `err`: only then is progress shown there. */
  readonly isErrTerminal?: boolean;
}

/** The largest policy of wallets, and a transaction at its greatest in hex, with room for indentation. */
export const MAX_INPUT_BYTES = 512 * 1024;

/** Wrong use: exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const processIo: CommandIo = {
  read: (path) => (path === "-" ? readStream(process.stdin) : readFile(path)),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  nowMs: Date.now,
  isErrTerminal: process.stderr.isTTY,
};

/** Text that somebody else chose: control characters could move a terminal's cursor and draw a ✓. */
export function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\u00a1-\u024f]/g, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** JSON that holds text of others: still JSON, and a terminal shows it without obeying it. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replaceAll(
    /[^\n\x20-\x7e\u00a1-\u024f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

async function readFile(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    return await readStream(file.createReadStream());
  } finally {
    await file.close();
  }
}

/** Stops as soon as there is more than any input: a device or a pipe may have no end. */
async function readStream(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_INPUT_BYTES) break;
  }
  return Buffer.concat(chunks);
}
