/** A ramdisk of a few files, for whoever adds one to an image that is built already. */
import { type ByteSource, bytesSource } from "../byte-source.ts";
import { FileTree, namesOf } from "../image/file-tree.ts";
import { cpioSource } from "./cpio.ts";

/**
 * Not compressed: it is small, and the kernel does not have to unpack it.
 *
 * @param files - By path without a leading slash, which must be names that an image may have.
 */
export function ramdiskOfFiles(files: Readonly<Record<string, Uint8Array>>): ByteSource {
  const tree = new FileTree();
  for (const [path, bytes] of Object.entries(files)) {
    tree.place(path, { kind: "file", content: bytesSource(bytes), mode: 0o644, uid: 0, gid: 0 });
  }
  return cpioSource(namesOf(tree.root), 0);
}
