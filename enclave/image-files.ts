/** The files of the measured image that a start reads. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { getCACertificates } from "node:tls";
import { StartError } from "./errors.ts";
import { pickAmazonRoots } from "./kms/amazon-roots.ts";

const MANIFEST = "etc/cloister/cloister.yaml";
const TLS_ROOTS = "etc/cloister/tls-roots.pem";

export interface ImageFiles {
  readonly manifest: Uint8Array;
  readonly tlsRoots: { readonly kms: readonly string[]; readonly web: readonly string[] };
}

/**
 * Reads them.
 *
 * @param root - `file:///` in the image.
 * @throws {@link StartError} `MANIFEST_MISSING`, `TLS_ROOTS_INVALID`
 */
export async function readImageFiles(root: URL): Promise<ImageFiles> {
  const manifest = await readIfThere(new URL(MANIFEST, root));
  if (manifest === undefined) {
    throw new StartError("MANIFEST_MISSING", `the image has no /${MANIFEST}: build it with --manifest cloister.yaml`);
  }
  const own = await readIfThere(new URL(TLS_ROOTS, root));
  if (own !== undefined) {
    const roots = parsePem(own.toString("latin1"));
    return { manifest, tlsRoots: { kms: roots, web: roots } };
  }
  // "bundled": compiled into Node, and so measured. Neither the environment nor a file of the system adds to it.
  const bundled = getCACertificates("bundled");
  return { manifest, tlsRoots: { kms: pickAmazonRoots(bundled), web: bundled } };
}

async function readIfThere(url: URL): Promise<Buffer | undefined> {
  try {
    return await readFile(url);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** A file that is there replaces every authority: one that cannot be read whole must not leave the others in charge. */
function parsePem(text: string): string[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new StartError("TLS_ROOTS_INVALID", `/${TLS_ROOTS} holds no certificate`);
  for (const [at, pem] of blocks.entries()) {
    try {
      new X509Certificate(pem);
    } catch (cause) {
      throw new StartError("TLS_ROOTS_INVALID", `/${TLS_ROOTS}: certificate ${at + 1} cannot be read`, { cause });
    }
  }
  return blocks;
}
