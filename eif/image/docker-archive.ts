/** What `docker save` writes: manifest.json names configuration and layers by their files. */
import { ImageError } from "./errors.ts";
import type { FileRange } from "./file-range.ts";
import { type ImageConfig, readConfig } from "./image-config.ts";
import type { ImageFiles } from "./image-files.ts";
import { field, type JsonObject, listOf, objectOf, readJson, textOf, textsOf } from "./json.ts";
import type { StoredImage } from "./oci-layout.ts";
import { expectDigest } from "./stage-layer.ts";

/** @returns `undefined` where this is no docker archive. */
export async function readDockerArchive(files: ImageFiles, platform: string): Promise<StoredImage | undefined> {
  const images = await readManifest(files);
  if (images === undefined) return undefined;
  const [image, second] = images.filter(({ config }) => config.platform === platform);
  if (image === undefined) {
    const there = images.map(({ config }) => config.platform).join(", ");
    throw new ImageError("NO_SUCH_PLATFORM", `there is no image for ${platform}; there is ${there || "none at all"}`);
  }
  if (second !== undefined) throw new ImageError("AMBIGUOUS_IMAGE", "several images in one archive: save one alone");
  return { config: image.config, layers: await layersOf(files, image) };
}

/**
 * Newer versions of docker write an OCI layout and a manifest.json into one archive. Whoever reads the other of the two
 * must see the same image, or an auditor's tool could show one and this build another.
 *
 * @throws {@link ImageError} `FORMATS_DISAGREE`
 */
export async function expectSameImage(files: ImageFiles, chosen: StoredImage): Promise<void> {
  const images = await readManifest(files);
  if (images === undefined) return;
  const isNamed = images.some(({ config }) => config.digest === chosen.config.digest);
  if (!isNamed) {
    throw new ImageError(
      "FORMATS_DISAGREE",
      `index.json leads to ${chosen.config.digest}, manifest.json to another image`,
    );
  }
}

interface DockerImage {
  readonly config: ImageConfig;
  readonly entry: JsonObject;
}

/** docker itself names at most one image per tag given to it. */
const MAX_IMAGES = 100;

async function readManifest(files: ImageFiles): Promise<DockerImage[] | undefined> {
  const manifest = await files.find("manifest.json");
  if (manifest === undefined) return undefined;
  const entries = listOf(await readJson(manifest, "manifest.json"), "manifest.json");
  if (entries.length > MAX_IMAGES) throw new ImageError("JSON_MALFORMED", `more than ${MAX_IMAGES} images`);
  const images: DockerImage[] = [];
  for (const item of entries) {
    const entry = objectOf(item, "an image in manifest.json");
    const name = textOf(field(entry, "Config"), "Config");
    const config = await readConfig(await needed(files, name));
    // "<hex>.json" in older archives, "blobs/sha256/<hex>" in newer ones: either is a promise.
    const hex = /([0-9a-f]{64})(\.json)?$/.exec(name)?.[1];
    if (hex !== undefined) expectDigest(`sha256:${hex}`, config.digest, "the image's configuration");
    images.push({ config, entry });
  }
  return images;
}

async function layersOf(files: ImageFiles, { config, entry }: DockerImage): Promise<StoredImage["layers"]> {
  const names = textsOf(field(entry, "Layers"), "Layers");
  if (names.length !== config.diffIds.length) {
    throw new ImageError(
      "LAYER_COUNT_MISMATCH",
      `${names.length} layers, and ${config.diffIds.length} in the configuration`,
    );
  }
  const layers = [];
  for (const [index, name] of names.entries()) {
    const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    const digest = hex === undefined ? undefined : `sha256:${hex}`;
    layers.push({ range: await needed(files, name), digest, diffId: config.diffIds[index] ?? "" });
  }
  return layers;
}

async function needed(files: ImageFiles, name: string): Promise<FileRange> {
  const found = await files.find(name);
  if (found === undefined)
    throw new ImageError("BLOB_MISSING", `manifest.json names ${JSON.stringify(name)}, which is not there`);
  return found;
}
