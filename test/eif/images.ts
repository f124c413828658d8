/** Images for tests, put together from the description of the format by other code than the writer's. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

export const TYPES = { kernel: 1, cmdline: 2, ramdisk: 3, signature: 4, metadata: 5 } as const;

export interface Piece {
  readonly type: number;
  readonly data: Uint8Array;
  readonly flags?: number;
  /** What the section's header claims, where it is a lie. */
  readonly size?: bigint;
}

export const METADATA = JSON.stringify({
  ImageName: "app",
  ImageVersion: "1.0",
  BuildMetadata: {
    BuildTime: "2025-04-12T01:48:10.897579243+00:00",
    BuildTool: "nitro-cli",
    BuildToolVersion: "1.4.2",
    OperatingSystem: "Linux",
    KernelVersion: "4.14.256",
  },
  DockerInfo: null,
  CustomMetadata: null,
});

export const piece = (type: keyof typeof TYPES, data: string | Uint8Array): Piece => ({
  type: TYPES[type],
  data: typeof data === "string" ? Buffer.from(data) : data,
});

export const KERNEL = piece("kernel", "KERNEL");
export const CMDLINE = piece("cmdline", "console=ttyS0");
export const RAMDISK_0 = piece("ramdisk", "ramdisk zero");
export const RAMDISK_1 = piece("ramdisk", "ramdisk one!");
export const METADATA_PIECE = piece("metadata", METADATA);
export const USUAL: readonly Piece[] = [KERNEL, CMDLINE, METADATA_PIECE, RAMDISK_0, RAMDISK_1];

export interface ImageOptions {
  readonly version?: number;
  readonly flags?: number;
  readonly count?: number;
  /** After the last section; the CRC covers it. */
  readonly trailing?: Uint8Array;
  /** Changes the file before its CRC is computed. */
  readonly patch?: (file: DataView) => void;
  /** Instead of the right one. */
  readonly crc?: number;
}

export function image(pieces: readonly Piece[] = USUAL, options: ImageOptions = {}): Uint8Array {
  const header = Buffer.alloc(548);
  header.write(".eif", 0, "latin1");
  header.writeUInt16BE(options.version ?? 4, 4);
  header.writeUInt16BE(options.flags ?? 0, 6);
  header.writeBigUInt64BE(1073741824n, 8);
  header.writeBigUInt64BE(2n, 16);
  header.writeUInt16BE(options.count ?? pieces.length, 26);
  const body: Buffer[] = [];
  let at = 548;
  for (const [slot, { type, data, flags = 0, size }] of pieces.entries()) {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(type, 0);
    head.writeUInt16BE(flags, 2);
    head.writeBigUInt64BE(size ?? BigInt(data.length), 4);
    if (slot < 32) {
      header.writeBigUInt64BE(BigInt(at), 28 + 8 * slot);
      header.writeBigUInt64BE(BigInt(data.length), 284 + 8 * slot);
    }
    body.push(head, Buffer.from(data));
    at += 12 + data.length;
  }
  const file = Buffer.concat([header, ...body, options.trailing ?? Buffer.alloc(0)]);
  options.patch?.(new DataView(file.buffer, file.byteOffset, file.length));
  return withCrc(file, options.crc);
}

export function withCrc(file: Uint8Array, crc?: number): Uint8Array {
  const copy = Buffer.from(file);
  copy.writeUInt32BE(crc ?? crc32(copy.subarray(548), crc32(copy.subarray(0, 544))), 544);
  return new Uint8Array(copy);
}

const sha384 = (...parts: readonly Uint8Array[]) => {
  const hash = createHash("sha384");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** X(m) of nitro.md 1.6, in hex. */
export function pcr(...parts: readonly (string | Uint8Array)[]): string {
  const digest = sha384(...parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)));
  return sha384(Buffer.alloc(48), digest).toString("hex");
}

/** One cpio entry as a header of hex digits, its name and its data. */
export function cpioEntry(
  name: string,
  data: string | Uint8Array = "",
  fields: { mode?: number; ino?: number; uid?: number; mtime?: number; rdev?: readonly [number, number] } = {},
): Buffer {
  const bytes = Buffer.from(data);
  const { mode = 0o100644, ino = 1, uid = 0, mtime = 0, rdev = [0, 0] } = fields;
  const length = Buffer.byteLength(name) + 1;
  const numbers = [ino, mode, uid, 0, 1, mtime, bytes.length, 3, 1, ...rdev, length, 0];
  const head = `070701${numbers.map((number) => number.toString(16).padStart(8, "0")).join("")}`;
  return Buffer.concat([padded(Buffer.from(`${head}${name}\0`)), padded(bytes)]);
}

export function cpio(...entries: readonly Buffer[]): Buffer {
  return Buffer.concat([...entries, cpioEntry("TRAILER!!!", "", { mode: 0, ino: 0 })]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
