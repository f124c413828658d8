/**
 * The cpio "newc" archives of which a root file system is unpacked (Linux, Documentation/driver-api/early-userspace/
 * buffer-format). Names are what the kernel makes of them: without the slashes at the ends, and up to the first NUL.
 */
import type { ByteStream } from "./byte-stream.ts";
import { EifError } from "./errors.ts";

const HEADER_BYTES = 110;
/** PATH_MAX with its NUL: the kernel passes over entries with longer names. */
const MAX_NAME_BYTES = 4096;
const TRAILER = "TRAILER!!!";

export const FILE_TYPE = {
  MASK: 0o170000,
  FILE: 0o100000,
  DIRECTORY: 0o040000,
  SYMLINK: 0o120000,
  CHARACTER_DEVICE: 0o020000,
  BLOCK_DEVICE: 0o060000,
  FIFO: 0o010000,
  SOCKET: 0o140000,
} as const;

export interface CpioEntry {
  /** Without `/` and `./` before and `/` behind; empty for the root itself. May hold `..`: nobody has judged it. */
  readonly name: string;
  readonly ino: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly mtimeSeconds: number;
  readonly sizeBytes: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** To be read before the next entry is asked for; what is left unread is passed over. */
  data(): AsyncIterable<Uint8Array>;
}

/**
 * Reads one archive up to and with its trailer.
 *
 * @throws {@link EifError} `RAMDISK_MALFORMED`, `RAMDISK_TRUNCATED`
 */
export async function* readCpio(stream: ByteStream): AsyncGenerator<CpioEntry> {
  const base = stream.at;
  const align = async (): Promise<void> => {
    // What stands there, the kernel passes over.
    await stream.take((4 - ((stream.at - base) % 4)) % 4);
  };
  for (;;) {
    const at = stream.at;
    const header = Buffer.from(await stream.take(HEADER_BYTES)).toString("latin1");
    if (header.length < HEADER_BYTES) throw truncated(stream.at);
    if (!/^07070[12][0-9a-fA-F]{104}$/.test(header)) throw malformed(at, "a newc header");
    const field = (index: number) => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const name = await readName(stream, field(11), at);
    await align();
    const sizeBytes = field(6);
    if (name === TRAILER) {
      if (sizeBytes !== 0) throw malformed(at, "a trailer without data");
      return;
    }
    let left = sizeBytes;
    const data = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of stream.pieces(left)) {
        left -= piece.length;
        yield piece;
      }
      if (left > 0) throw truncated(stream.at);
    };
    yield {
      name: normalized(name),
      ino: field(0),
      mode: field(1),
      uid: field(2),
      gid: field(3),
      nlink: field(4),
      mtimeSeconds: field(5),
      sizeBytes,
      deviceMajor: field(9),
      deviceMinor: field(10),
      data,
    };
    for await (const _ of data());
    await align();
  }
}

async function readName(stream: ByteStream, length: number, at: number): Promise<string> {
  if (length < 1 || length > MAX_NAME_BYTES) throw malformed(at, `a name of 1 to ${MAX_NAME_BYTES} bytes`);
  const bytes = await stream.take(length);
  if (bytes.length < length) throw truncated(stream.at);
  const end = bytes.indexOf(0);
  if (end === -1) throw malformed(at, "a name that ends with NUL");
  return textOf(bytes.subarray(0, end));
}

/** Two names that differ in bytes must not look the same: what is no UTF-8 is written byte by byte. */
export function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Array.from(bytes, (byte) =>
      byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`,
    ).join("");
  }
}

function normalized(name: string): string {
  return name
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}

function malformed(at: number, expected: string): EifError {
  return new EifError("RAMDISK_MALFORMED", `expected ${expected} at byte ${at} of the unpacked ramdisk`);
}

function truncated(at: number): EifError {
  return new EifError("RAMDISK_TRUNCATED", `the ramdisk ends at byte ${at} of its archive, before the trailer`);
}
