/** Takes an image apart into files. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ByteSource } from "./byte-source.ts";
import { EifError } from "./errors.ts";
import { compressionOf, type RamdiskCompression } from "./ramdisk.ts";
import type { InspectedEif } from "./read-eif.ts";
import { type LeftOut, unpackRamdisk } from "./unpack-ramdisk.ts";

export interface Extracted {
  /** Relative to the folder, in the order in which they were written. */
  readonly files: readonly string[];
  /** Entries of ramdisks that were not written, and why. */
  readonly leftOut: readonly (LeftOut & { readonly ramdisk: number })[];
}

const SUFFIXES: Readonly<Record<RamdiskCompression, string>> = {
  none: ".cpio",
  gzip: ".cpio.gz",
  zstd: ".cpio.zst",
  xz: ".cpio.xz",
  lz4: ".cpio.lz4",
  bzip2: ".cpio.bz2",
  lzma: ".cpio.lzma",
  lzo: ".cpio.lzo",
  unknown: ".bin",
};

/**
 * @param folder - Made if it is not there; must be empty, so that nothing which lies there is followed or written over.
 * @param unpack - Whether to unpack the ramdisks too, each into a folder of its own.
 * @throws {@link EifError} `OUTPUT_NOT_EMPTY`, `FILE_CHANGED`; with `unpack` also `RAMDISK_*`
 */
export async function extractEif(eif: InspectedEif, folder: string, unpack: boolean): Promise<Extracted> {
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) throw new EifError("OUTPUT_NOT_EMPTY", `${folder} is not empty`);
  const files: string[] = [];
  const leftOut: (LeftOut & { ramdisk: number })[] = [];
  const write = async (name: string, data: AsyncIterable<Uint8Array> | Uint8Array | string): Promise<void> => {
    await writeFile(join(folder, name), data, { flag: "wx" });
    files.push(name);
  };
  let ramdisk = 0;
  for (const section of eif.sections) {
    const source = eif.source(section);
    switch (section.type) {
      case "kernel":
      case "cmdline":
        await write(section.type, source.chunks());
        break;
      case "metadata":
        await write("metadata.json", source.chunks());
        break;
      case "signature":
        await write("signature.cbor", source.chunks());
        if (eif.signature !== null) await write("certificate.pem", eif.signature.certificatePem);
        break;
      case "ramdisk":
        await write(`ramdisk-${ramdisk}${SUFFIXES[await compressionOf(source)]}`, source.chunks());
        if (unpack) {
          files.push(`ramdisk-${ramdisk}/`);
          const found = await unpackInto(source, join(folder, `ramdisk-${ramdisk}`));
          leftOut.push(...found.map((one) => ({ ...one, ramdisk })));
        }
        ramdisk += 1;
        break;
    }
  }
  return { files, leftOut };
}

async function unpackInto(source: ByteSource, folder: string): Promise<readonly LeftOut[]> {
  await mkdir(folder, { mode: 0o700 });
  return unpackRamdisk(source, folder);
}
