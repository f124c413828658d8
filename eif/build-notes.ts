/** What whoever builds should hear about an image that is not refused. */
import type { FileTree } from "./image/file-tree.ts";
import { type Configuration, MANIFEST_NAME, TLS_ROOTS_NAME } from "./ramdisk/layout.ts";

export function notesAbout(tree: FileTree, { manifest, tlsRoots }: Configuration): string[] {
  const notes: string[] = [];
  if (tree.find(MANIFEST_NAME) !== undefined && manifest !== undefined) {
    notes.push(`--manifest goes over the image's own /${MANIFEST_NAME}`);
  }
  if (tree.find(TLS_ROOTS_NAME) !== undefined) {
    notes.push(
      tlsRoots === undefined
        ? `the image brings TLS roots of its own (/${TLS_ROOTS_NAME}): the enclave trusts them for KMS and the web, and nothing else`
        : `--tls-roots goes over the image's own /${TLS_ROOTS_NAME}`,
    );
  }
  return notes;
}
