/** Tar archives made by hand: headers field by field, so that a test decides what a reader must cope with. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { Budget } from "../../../eif/image/budget.ts";
import { type FileRange, wholeFile } from "../../../eif/image/file-range.ts";
import { IMAGE_LIMITS, type ImageLimits } from "../../../eif/image/limits.ts";
import { readTar, type TarEntry } from "../../../eif/image/read-tar.ts";

export interface Fields {
  readonly name?: string;
  readonly type?: string;
  readonly mode?: number | string;
  readonly uid?: number | string;
  readonly gid?: number | string;
  readonly size?: number | string;
  readonly linkName?: string;
  readonly prefix?: string;
  readonly dialect?: "posix" | "gnu" | "v7" | "star";
  readonly major?: number;
  readonly minor?: number;
  /** Bytes written over what stands there, before the checksum is taken. */
  readonly over?: readonly (readonly [at: number, bytes: string | Uint8Array])[];
  readonly checksum?: "unsigned" | "signed" | "wrong";
}

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, "0")}\0`;
const number = (value: number | string, width: number): string =>
  typeof value === "string" ? value : octal(value, width);

export function header(fields: Fields): Buffer {
  const block = Buffer.alloc(512);
  const { dialect = "posix" } = fields;
  block.write(fields.name ?? "file", 0, 100, "latin1");
  block.write(number(fields.mode ?? 0o644, 8), 100, 8, "latin1");
  block.write(number(fields.uid ?? 0, 8), 108, 8, "latin1");
  block.write(number(fields.gid ?? 0, 8), 116, 8, "latin1");
  block.write(number(fields.size ?? 0, 12), 124, 12, "latin1");
  block.write(octal(1_700_000_000, 12), 136, 12, "latin1");
  block.write(fields.type ?? "0", 156, 1, "latin1");
  block.write(fields.linkName ?? "", 157, 100, "latin1");
  if (dialect !== "v7") {
    block.write(dialect === "gnu" ? "ustar  \0" : "ustar\x0000", 257, 8, "latin1");
    block.write(octal(fields.major ?? 0, 8), 329, 8, "latin1");
    block.write(octal(fields.minor ?? 0, 8), 337, 8, "latin1");
    block.write(fields.prefix ?? "", 345, 155, "latin1");
  }
  if (dialect === "star") block.write("tar\0", 508, 4, "latin1");
  for (const [at, bytes] of fields.over ?? []) Buffer.from(bytes as string, "latin1").copy(block, at);
  const sum = block.reduce((total, byte, at) => {
    if (at >= 148 && at < 156) return total + 0x20;
    return total + (fields.checksum === "signed" && byte >= 0x80 ? byte - 256 : byte);
  }, 0);
  block.write(`${(sum + (fields.checksum === "wrong" ? 1 : 0)).toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
  return block;
}

export function padded(data: Uint8Array): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** A header with its data. */
export function entry(fields: Fields, data: string | Uint8Array = ""): Buffer {
  const bytes = Buffer.from(data as string, "latin1");
  return Buffer.concat([header({ size: bytes.length, ...fields }), padded(bytes)]);
}

function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = body.length;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return `${length}${body}`;
}

export function pax(records: readonly (readonly [string, string])[], type = "x"): Buffer {
  return entry({ name: "pax", type }, records.map(([key, value]) => paxRecord(key, value)).join(""));
}

/** GNU's long name ("L") or long link ("K"). */
export function gnuLong(type: "L" | "K", text: string): Buffer {
  return entry({ name: "././@LongLink", type, dialect: "gnu" }, `${text}\0`);
}

export function archive(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function fileOf(bytes: Uint8Array, folder = temporaryFolder()): Promise<FileRange> {
  const path = join(folder, `file-${Math.random().toString(16).slice(2)}`);
  writeFileSync(path, bytes);
  return wholeFile(path, { follow: false });
}

export function budgetOf(limits: Partial<ImageLimits> = {}): Budget {
  return new Budget({ ...IMAGE_LIMITS, ...limits });
}

export async function readAll(bytes: Uint8Array, limits: Partial<ImageLimits> = {}): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  for await (const found of readTar(await fileOf(bytes), budgetOf(limits))) entries.push(found);
  return entries;
}

export async function contentOf({ content }: { readonly content: TarEntry["content"] }): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const chunk of content.chunks()) pieces.push(Buffer.from(chunk));
  const bytes = Buffer.concat(pieces);
  if (bytes.length !== content.sizeBytes) throw new Error(`${bytes.length} bytes of ${content.sizeBytes}`);
  return bytes;
}
