/**
 * Writes cpio archives in the "newc" form that the kernel unpacks (Linux, Documentation/driver-api/early-userspace/
 * buffer-format.rst). The same tree gives the same bytes: sorted names, inodes counted from 1, device 0:0, one time.
 */

import { BuildError } from "../build-errors.ts";
import type { ByteSource } from "../byte-source.ts";
import { MAX_PATH_BYTES, shown } from "../image/entry-name.ts";
import type { Leaf, Node } from "../image/file-tree.ts";
import { rechunk } from "./rechunk.ts";

/** A name and what it stands for, in the order of the archive. */
export type CpioEntry = readonly [name: string, node: Node];

/** newc has eight hexadecimal digits for every number. */
const MAX_FIELD = 0xffff_ffff;
const HEADER_BYTES = 110;
const PIECE_BYTES = 256 * 1024;
const TRAILER = "TRAILER!!!";

/** Linux, stat.h. */
const TYPE_BITS = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  "character-device": 0o020000,
  "block-device": 0o060000,
  fifo: 0o010000,
} as const;

interface Record {
  readonly header: Buffer;
  readonly content: ByteSource | undefined;
}

/**
 * @param entries - Sorted by name, parents before what is in them; hard links are one node under several names.
 * @throws {@link BuildError} `FILE_TOO_LARGE`, `PATH_TOO_LONG`, `RESERVED_NAME`
 */
export function cpioSource(entries: readonly CpioEntry[], epochSeconds: number): ByteSource {
  const links = linksOf(entries);
  let sizeBytes = recordBytes(TRAILER, 0);
  for (const [name, node] of entries) {
    check(name, node);
    sizeBytes += recordBytes(name, dataBytes(name, node, links));
  }
  return {
    sizeBytes,
    // Headers and small files by themselves would be a hundred thousand writes.
    chunks: () => rechunk(pieces(entries, links, epochSeconds), PIECE_BYTES),
  };
}

async function* pieces(entries: readonly CpioEntry[], links: Links, epochSeconds: number): AsyncGenerator<Uint8Array> {
  for (const { header, content } of records(entries, links, epochSeconds)) {
    yield header;
    if (content === undefined) continue;
    yield* content.chunks();
    yield Buffer.alloc(paddingOf(content.sizeBytes));
  }
}

interface Links {
  readonly inodeOf: ReadonlyMap<Node, number>;
  readonly countOf: ReadonlyMap<Node, number>;
  /** The name that carries the content: the last, as in the kernel's own gen_init_cpio. */
  readonly lastOf: ReadonlyMap<Node, string>;
}

function linksOf(entries: readonly CpioEntry[]): Links {
  const inodeOf = new Map<Node, number>();
  const countOf = new Map<Node, number>();
  const lastOf = new Map<Node, string>();
  for (const [name, node] of entries) {
    if (!inodeOf.has(node)) inodeOf.set(node, inodeOf.size + 1);
    countOf.set(node, (countOf.get(node) ?? 0) + 1);
    lastOf.set(node, name);
  }
  return { inodeOf, countOf, lastOf };
}

function check(name: string, node: Node): void {
  if (name.length > MAX_PATH_BYTES)
    throw new BuildError("PATH_TOO_LONG", `a name of ${name.length} bytes: ${shown(name)}`);
  // The kernel would end the archive there, and the rest of the image would be gone.
  if (name === TRAILER) throw new BuildError("RESERVED_NAME", `a file at the root is named ${shown(name)}`);
  if (node.kind === "file" && node.content.sizeBytes > MAX_FIELD) {
    throw new BuildError("FILE_TOO_LARGE", `${shown(name)} has ${node.content.sizeBytes} bytes; cpio holds 4 GiB - 1`);
  }
}

function dataBytes(name: string, node: Node, { lastOf }: Links): number {
  if (node.kind === "symlink") return node.target.length;
  return node.kind === "file" && lastOf.get(node) === name ? node.content.sizeBytes : 0;
}

function paddingOf(length: number): number {
  return (4 - (length % 4)) % 4;
}

/** Header with its name, and data, each up to a multiple of four. */
function recordBytes(name: string, data: number): number {
  const header = HEADER_BYTES + name.length + 1;
  return header + paddingOf(header) + data + paddingOf(data);
}

function* records(entries: readonly CpioEntry[], links: Links, epochSeconds: number): Generator<Record> {
  for (const [name, node] of entries) {
    const sizeBytes = dataBytes(name, node, links);
    const device = "device" in node ? node.device : { major: 0, minor: 0 };
    const header = encodeHeader(name, [
      links.inodeOf.get(node) ?? 0,
      TYPE_BITS[node.kind] | node.mode,
      node.uid,
      node.gid,
      // For a directory, what mkdir gives it; the kernel counts its own. For the rest, links in this archive.
      node.kind === "directory" ? 2 : (links.countOf.get(node) ?? 1),
      epochSeconds,
      sizeBytes,
      0,
      0,
      device.major,
      device.minor,
    ]);
    if (node.kind === "symlink") yield { header: withTarget(header, node), content: undefined };
    else yield { header, content: node.kind === "file" && sizeBytes > 0 ? node.content : undefined };
  }
  yield { header: encodeHeader(TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), content: undefined };
}

function withTarget(header: Buffer, { target }: Leaf & { readonly kind: "symlink" }): Buffer {
  return Buffer.concat([header, Buffer.from(target, "latin1"), Buffer.alloc(paddingOf(target.length))]);
}

/** @param fields - ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor. */
function encodeHeader(name: string, fields: readonly number[]): Buffer {
  const hex = [...fields, name.length + 1, 0].map((value) => value.toString(16).padStart(8, "0")).join("");
  const text = `070701${hex}${name}\0`;
  return Buffer.from(text + "\0".repeat(paddingOf(text.length)), "latin1");
}
