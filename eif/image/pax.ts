/** PAX extended headers (POSIX.1-2001, pax, "Extended Header"): lines of "length key=value\n", values as bytes. */
import { ImageError } from "./errors.ts";

/** A header that only says names and numbers has some hundred bytes; xattrs and ACLs take a few kilobytes. */
export const MAX_EXTENSION_BYTES = 1024 * 1024;

export interface PaxRecords {
  /** Keys that stand once. An empty value takes back what another header said, so it is as good as none. */
  readonly values: ReadonlyMap<string, string>;
  /** GNU's sparse format 0.0 repeats two keys, in pairs: offset, size, offset, size… */
  readonly sparsePairs: readonly string[];
}

const REPEATED: ReadonlySet<string> = new Set(["GNU.sparse.offset", "GNU.sparse.numbytes"]);

/** @throws {@link ImageError} `TAR_EXTENSION` */
export function decodePax(bytes: Buffer): PaxRecords {
  const values = new Map<string, string>();
  const sparsePairs: string[] = [];
  const seen = new Set<string>();
  for (let at = 0; at < bytes.length; ) {
    const { key, value, next } = recordAt(bytes, at);
    at = next;
    if (REPEATED.has(key)) {
      sparsePairs.push(value);
      continue;
    }
    // One reader takes the first, another the last.
    if (seen.has(key)) throw new ImageError("TAR_EXTENSION", `the PAX key ${key} stands twice`);
    seen.add(key);
    if (value !== "") values.set(key, value);
  }
  return { values, sparsePairs };
}

function recordAt(bytes: Buffer, at: number): { key: string; value: string; next: number } {
  const malformed = (why: string): never => {
    throw new ImageError("TAR_EXTENSION", `a PAX header is malformed: ${why}`);
  };
  const space = bytes.indexOf(0x20, at);
  const digits = bytes.toString("latin1", at, Math.min(space, at + 8));
  if (space < 0 || space - at > 7 || !/^[1-9][0-9]*$/.test(digits)) return malformed("no length");
  const next = at + Number(digits);
  if (next > bytes.length || next <= space + 1) return malformed("a length beyond its end");
  if (bytes[next - 1] !== 0x0a) return malformed("no newline where a record ends");
  const record = bytes.toString("latin1", space + 1, next - 1);
  const equals = record.indexOf("=");
  if (equals < 1) return malformed("no key");
  return { key: record.slice(0, equals), value: record.slice(equals + 1), next };
}

/** @throws {@link ImageError} `TAR_EXTENSION` */
export function paxNumber(records: PaxRecords, key: string): number | undefined {
  const text = records.values.get(key);
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,16}$/.test(text) || Number(text) > Number.MAX_SAFE_INTEGER) {
    throw new ImageError("TAR_EXTENSION", `the PAX key ${key} is no number in range`);
  }
  return Number(text);
}

/** Extended attributes and ACLs: cpio has no place for them. */
export function xattrsOf(records: PaxRecords): string[] {
  const prefixes = ["SCHILY.xattr.", "LIBARCHIVE.xattr."];
  const found = [...records.values.keys()].flatMap((key) => {
    if (key.startsWith("SCHILY.acl.")) return [key.slice("SCHILY.".length)];
    return prefixes.filter((prefix) => key.startsWith(prefix)).map((prefix) => key.slice(prefix.length));
  });
  return [...new Set(found)].sort();
}
