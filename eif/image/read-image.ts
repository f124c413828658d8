/** From an image, as it was saved, to its file system. */
import { join } from "node:path";
import type { Architecture } from "../format.ts";
import { applyLayer, type LayerNotes } from "./apply-layer.ts";
import { expectSameImage, readDockerArchive } from "./docker-archive.ts";
import { ImageError } from "./errors.ts";
import { FileTree } from "./file-tree.ts";
import { type ImageConfig, platformOf } from "./image-config.ts";
import { openImageFiles, type Workplace } from "./image-files.ts";
import { readOciLayout, type StoredImage } from "./oci-layout.ts";
import { readTar } from "./read-tar.ts";
import { stageLayer } from "./stage-layer.ts";

export interface ReadImage extends LayerNotes {
  readonly tree: FileTree;
  readonly config: ImageConfig;
}

export interface LayerProgress {
  readonly index: number;
  readonly count: number;
  readonly diffId: string;
  readonly sizeBytes: number;
}

/**
 * @param path - An OCI layout, as a folder or a tar archive, or what `docker save` wrote; compressed or not.
 * @param onLayer - Told when a layer has been verified and put in its place.
 * @throws {@link ImageError}
 */
export async function readImage(
  path: string,
  architecture: Architecture,
  workplace: Workplace,
  onLayer: (layer: LayerProgress) => void = () => undefined,
): Promise<ReadImage> {
  const { folder, budget, signal } = workplace;
  const { config, layers } = await findImage(path, platformOf(architecture), workplace);
  const tree = new FileTree((name) => budget.takeEntry(name, ""));
  const notes: LayerNotes = { xattrs: new Map() };
  for (const [index, layer] of layers.entries()) {
    const tar = await stageLayer(layer, join(folder, `layer-${index}.tar`), budget, signal);
    await applyLayer(tree, readTar(tar, budget), notes);
    onLayer({ index, count: layers.length, diffId: layer.diffId, sizeBytes: tar.sizeBytes });
  }
  return { tree, config, ...notes };
}

async function findImage(path: string, platform: string, workplace: Workplace): Promise<StoredImage> {
  const files = await openImageFiles(path, workplace);
  const oci = await readOciLayout(files, platform, workplace.signal);
  if (oci !== undefined) {
    await expectSameImage(files, oci);
    return oci;
  }
  const docker = await readDockerArchive(files, platform);
  if (docker !== undefined) return docker;
  throw new ImageError(
    "UNKNOWN_FORMAT",
    `${path} is neither an OCI layout (index.json) nor a docker archive (manifest.json); for a plain folder use --rootfs`,
  );
}
