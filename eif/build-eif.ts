/** From a container image or a folder to an EIF: the same bytes from the same parts, on any machine, without root. */
import { dirname, join } from "node:path";
import { BuildError } from "./build-errors.ts";
import { notesAbout } from "./build-notes.ts";
import { type ByteSource, fileSource } from "./byte-source.ts";
import type { Architecture } from "./format.ts";
import { Budget } from "./image/budget.ts";
import type { FileTree } from "./image/file-tree.ts";
import type { ImageConfig } from "./image/image-config.ts";
import { IMAGE_LIMITS, type ImageLimits } from "./image/limits.ts";
import { readDirectory } from "./image/read-directory.ts";
import { type LayerProgress, readImage } from "./image/read-image.ts";
import { readKernel } from "./kernel-image.ts";
import type { Measurements } from "./measure.ts";
import type { EifMetadata, JsonValue } from "./metadata.ts";
import { compressTo, requirePinnedZstd, ZSTD_LEVEL, ZSTD_VERSION } from "./ramdisk/compress.ts";
import { type CpioEntry, cpioSource } from "./ramdisk/cpio.ts";
import { type Configuration, cloisterLayout, commandOf, type NitroCliBlobs, nitroCliLayout } from "./ramdisk/layout.ts";
import { abortable } from "./ramdisk/rechunk.ts";
import type { EifSigner } from "./signer.ts";
import { withStaging } from "./staging.ts";
import { writeEif } from "./write-eif.ts";

export interface BuildEifOptions {
  readonly source: { readonly kind: "image" | "rootfs"; readonly path: string };
  readonly out: string;
  readonly kernel: ByteSource;
  readonly cmdline: string;
  /** What the kernel is for, unless it is given; then the kernel must be for it. */
  readonly architecture?: Architecture;
  readonly name?: string;
  readonly version?: string;
  /** The time of every file and of the build, in seconds. */
  readonly epochSeconds: number;
  readonly compression: "zstd" | "none";
  readonly configuration: Configuration;
  /** AWS's init and its layout, in place of the image's own `/init`. Its ramdisks are never compressed. */
  readonly nitroCli?: NitroCliBlobs & { readonly semantics: "nitro-cli" | "docker" };
  readonly customMetadata?: { readonly [key: string]: JsonValue };
  readonly signer?: EifSigner;
  readonly toolVersion: string;
  readonly limits?: ImageLimits;
}

export type BuildStep =
  | {
      readonly kind: "kernel";
      readonly architecture: Architecture;
      readonly version: string;
      readonly sizeBytes: number;
    }
  | ({ readonly kind: "layer" } & LayerProgress)
  | { readonly kind: "folder"; readonly path: string }
  | {
      readonly kind: "ramdisk";
      readonly index: number;
      readonly files: number;
      readonly unpackedBytes: number;
      readonly sizeBytes: number;
    }
  | { readonly kind: "note"; readonly text: string };

export interface BuiltEif {
  readonly measurements: Measurements;
  readonly sizeBytes: number;
  /** What the kernel will make of the ramdisks, in memory. */
  readonly unpackedBytes: number;
}

export interface BuildEifDeps {
  readonly onStep: (step: BuildStep) => void;
  /** Ends the build, with nothing left of it. */
  readonly signal: AbortSignal;
}

/** Where custom metadata says what the bytes depend on besides the parts. */
const OWN_KEY = "Cloister";

/**
 * Writes `out` as a whole or not at all. Needs room beside it for the image as it is unpacked; memory does not grow with
 * the image, only with the number of its files.
 *
 * @throws `ImageError`, `BuildError`, `EifError`; the signal's reason.
 */
export async function buildEif(options: BuildEifOptions, deps: BuildEifDeps): Promise<BuiltEif> {
  if (options.customMetadata !== undefined && Object.hasOwn(options.customMetadata, OWN_KEY)) {
    throw new BuildError("METADATA_CONFLICT", `custom metadata may not have the key ${OWN_KEY}: it is this tool's own`);
  }
  const isCompressed = options.compression === "zstd" && options.nitroCli === undefined;
  // Before minutes of work.
  if (isCompressed) requirePinnedZstd();
  return withStaging(dirname(options.out), (folder) => build(options, deps, { folder, isCompressed }));
}

async function build(
  options: BuildEifOptions,
  { onStep, signal }: BuildEifDeps,
  { folder, isCompressed }: { readonly folder: string; readonly isCompressed: boolean },
): Promise<BuiltEif> {
  const { note, ...kernel } = await readKernel(options.kernel, options.architecture);
  onStep({ kind: "kernel", ...kernel, sizeBytes: options.kernel.sizeBytes });
  if (note !== undefined) onStep({ kind: "note", text: note });
  const { tree, config, notes } = await read(options, kernel.architecture, folder, { onStep, signal });
  for (const text of [...notes, ...notesAbout(tree, options.configuration)]) onStep({ kind: "note", text });

  const ramdisks: ByteSource[] = [];
  let unpackedBytes = 0;
  for (const [index, entries] of layoutOf(tree, config, options).entries()) {
    const cpio = abortable(cpioSource(entries, options.epochSeconds), signal);
    const ramdisk = isCompressed ? await compressTo(join(folder, `ramdisk-${index}.zst`), cpio, signal) : cpio;
    onStep({
      kind: "ramdisk",
      index,
      files: entries.length,
      unpackedBytes: cpio.sizeBytes,
      sizeBytes: ramdisk.sizeBytes,
    });
    ramdisks.push(abortable(ramdisk, signal));
    unpackedBytes += cpio.sizeBytes;
  }

  signal.throwIfAborted();
  const measurements = await writeEif(options.out, {
    architecture: kernel.architecture,
    kernel: abortable(options.kernel, signal),
    cmdline: options.cmdline,
    metadata: metadataOf(options, kernel.version, config, isCompressed),
    ramdisks,
    ...(options.signer === undefined ? {} : { signer: options.signer }),
  });
  return { measurements, sizeBytes: (await fileSource(options.out)).sizeBytes, unpackedBytes };
}

interface Read {
  readonly tree: FileTree;
  /** A folder has none. */
  readonly config: ImageConfig | undefined;
  readonly notes: readonly string[];
}

async function read(
  { source, limits = IMAGE_LIMITS }: BuildEifOptions,
  architecture: Architecture,
  folder: string,
  { onStep, signal }: BuildEifDeps,
): Promise<Read> {
  const budget = new Budget(limits);
  if (source.kind === "rootfs") {
    const { tree, foreignNames } = await readDirectory(source.path, budget, signal);
    onStep({ kind: "folder", path: source.path });
    const [first] = foreignNames;
    const notes =
      first === undefined
        ? []
        : [
            `${foreignNames.length} names are not ASCII: a file system that normalises names gives others, and other PCRs`,
          ];
    return { tree, config: undefined, notes };
  }
  const onLayer = (layer: LayerProgress): void => onStep({ kind: "layer", ...layer });
  const { tree, config, xattrs } = await readImage(source.path, architecture, { folder, budget, signal }, onLayer);
  const notes = [...xattrs]
    .sort()
    .map(
      ([name, count]) =>
        `${count} files had the extended attribute ${JSON.stringify(name)}: a ramdisk cannot hold it, so it is gone`,
    );
  return { tree, config, notes };
}

function layoutOf(tree: FileTree, config: ImageConfig | undefined, options: BuildEifOptions): CpioEntry[][] {
  const { nitroCli, configuration } = options;
  if (nitroCli === undefined) return cloisterLayout(tree, configuration);
  if (config === undefined)
    throw new BuildError("NO_COMMAND", "a folder has no CMD, which AWS's init needs: give an image");
  const command = commandOf(config, nitroCli.semantics);
  return nitroCliLayout(tree, nitroCli, { command, environment: config.environment }, configuration);
}

function metadataOf(
  options: BuildEifOptions,
  kernelVersion: string,
  config: ImageConfig | undefined,
  isCompressed: boolean,
): EifMetadata {
  const { name, version, epochSeconds, toolVersion, customMetadata } = options;
  const ramdisks = isCompressed
    ? { RamdiskCompression: "zstd", ZstdVersion: ZSTD_VERSION, ZstdLevel: ZSTD_LEVEL }
    : { RamdiskCompression: "none" };
  return {
    imageName: name ?? "cloister",
    // As nitro-cli: the image's id without "sha256:".
    imageVersion: version ?? config?.digest.replace("sha256:", "") ?? "0",
    build: {
      time: `${new Date(epochSeconds * 1000).toISOString().slice(0, 19)}+00:00`,
      tool: "cloister",
      toolVersion,
      operatingSystem: "Linux",
      kernelVersion,
    },
    // Under docker's names, and nothing that differs from one machine or tag to another.
    dockerInfo:
      config === undefined ? null : { Id: config.digest, RootFS: { Type: "layers", Layers: [...config.diffIds] } },
    customMetadata: { ...customMetadata, [OWN_KEY]: ramdisks },
  };
}
