/** The image that boots: the given one's kernel, command line and ramdisks to the byte, and one ramdisk more. */
import {
  type ByteSource,
  EifError,
  type EifSigner,
  type InspectedEif,
  MANIFEST_NAME,
  type Measurements,
  ramdiskOfFiles,
  readEif,
  TLS_ROOTS_NAME,
  writeEif,
} from "../../eif/index.ts";
import { SimulatorError } from "../errors.ts";

export interface MeasuredImage {
  readonly path: string;
  readonly measurements: Measurements;
}

/** Files that the kernel unpacks over the image's own, by their path without a leading slash. */
export type ExtraFiles = Readonly<Record<string, Uint8Array>>;

/** What `--manifest` and `--tls-roots` of `cloister eif build` would add. */
export function configurationFiles(site: { readonly manifest: Uint8Array; readonly tlsRootPem: string }): ExtraFiles {
  return {
    [MANIFEST_NAME]: site.manifest,
    [TLS_ROOTS_NAME]: Buffer.from(site.tlsRootPem),
  };
}

/** @throws {@link SimulatorError} `IMAGE_UNUSABLE` */
export async function measuredImage(path: string): Promise<MeasuredImage> {
  const { measurements } = await open(path);
  return { path, measurements };
}

/**
 * Writes the image with one ramdisk more. It is another image, so that a signature of the given one is left out.
 *
 * @throws {@link SimulatorError} `IMAGE_UNUSABLE`
 */
export async function extendImage(
  from: string,
  to: string,
  { files, signer }: { readonly files: ExtraFiles; readonly signer?: EifSigner },
): Promise<MeasuredImage> {
  const eif = await open(from);
  const sources = (type: string): ByteSource[] =>
    eif.sections.filter((section) => section.type === type).map((section) => eif.source(section));
  const [kernel] = sources("kernel");
  if (kernel === undefined) throw unusable(from, "it has no kernel");
  const measurements = await writeEif(to, {
    architecture: eif.architecture,
    kernel,
    cmdline: eif.cmdline,
    metadata: eif.metadata,
    ramdisks: [...sources("ramdisk"), ramdiskOfFiles(files)],
    ...(signer === undefined ? {} : { signer }),
  });
  return { path: to, measurements };
}

async function open(path: string): Promise<
  InspectedEif & {
    readonly measurements: Measurements;
    readonly cmdline: string;
    readonly metadata: NonNullable<InspectedEif["metadata"]>;
  }
> {
  try {
    const eif = await readEif(path);
    const { measurements, cmdline, metadata } = eif;
    if (measurements === null || cmdline === null || metadata === null) throw unusable(path, "a part is missing");
    return { ...eif, measurements, cmdline, metadata };
  } catch (cause) {
    if (!(cause instanceof EifError)) throw cause;
    throw new SimulatorError("IMAGE_UNUSABLE", `${cause.code}: ${cause.message}`, { cause });
  }
}

function unusable(path: string, why: string): SimulatorError {
  return new SimulatorError("IMAGE_UNUSABLE", `${path}: ${why}`);
}
