/** OCI image layouts: oci-layout, index.json and blobs by digest (OCI image specification, "Image Layout"). */
import { ImageError } from "./errors.ts";
import type { FileRange } from "./file-range.ts";
import { digestHex, type ImageConfig, readConfig } from "./image-config.ts";
import type { ImageFiles } from "./image-files.ts";
import { field, type Json, type JsonObject, listOf, objectOf, readJson, textOf } from "./json.ts";
import { digestOf, expectDigest, type StoredLayer } from "./stage-layer.ts";

/** An image as it is stored: nothing of its layers has been looked at. */
export interface StoredImage {
  readonly config: ImageConfig;
  readonly layers: readonly StoredLayer[];
}

const INDEX_TYPES: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);
const LAYER_TYPES =
  /^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(diff|foreign\.diff)\.tar)([.+](gzip|zstd))?$/;
/** An index in an index is usual for several platforms; more than that is nobody's. */
const MAX_INDEX_DEPTH = 4;
const MAX_MANIFESTS = 1000;

interface Candidate {
  readonly descriptor: JsonObject;
  readonly digest: string;
  readonly platform: string | undefined;
}

/** @returns `undefined` where this is no OCI layout. */
export async function readOciLayout(
  files: ImageFiles,
  platform: string,
  signal: AbortSignal,
): Promise<StoredImage | undefined> {
  const index = await files.find("index.json");
  if (index === undefined || (await files.find("oci-layout")) === undefined) return undefined;
  const layout = new Layout(files, signal);
  const candidates = new Map<string, Candidate>();
  await layout.collect(objectOf(await readJson(index, "index.json"), "index.json"), candidates, 0);
  return layout.choose([...candidates.values()], platform);
}

class Layout {
  readonly #files: ImageFiles;
  readonly #signal: AbortSignal;
  /** Indexes that name each other many times over must not be walked as many times. */
  readonly #walked = new Set<string>();

  constructor(files: ImageFiles, signal: AbortSignal) {
    this.#files = files;
    this.#signal = signal;
  }

  /** Every manifest of an image, once: several tags may name the same. */
  async collect(index: JsonObject, found: Map<string, Candidate>, depth: number): Promise<void> {
    if (depth > MAX_INDEX_DEPTH) throw new ImageError("JSON_MALFORMED", "an index in an index in an index…");
    for (const item of listOf(field(index, "manifests"), "manifests")) {
      const descriptor = objectOf(item, "a manifest's descriptor");
      const digest = textOf(field(descriptor, "digest"), "digest");
      if (isAttestation(descriptor) || found.has(digest) || this.#walked.has(digest)) continue;
      if (found.size + this.#walked.size >= MAX_MANIFESTS)
        throw new ImageError("JSON_MALFORMED", `more than ${MAX_MANIFESTS} manifests`);
      if (INDEX_TYPES.has(mediaTypeOf(descriptor))) {
        this.#walked.add(digest);
        // docker writes an index of all platforms and keeps the blobs of one: an index that is not here holds no image.
        const blob = await this.#find(descriptor);
        if (blob !== undefined) {
          const inner = objectOf(await this.#verifiedJson(blob, descriptor, "an index"), "an index");
          await this.collect(inner, found, depth + 1);
        }
        continue;
      }
      found.set(digest, { descriptor, digest, platform: platformIn(field(descriptor, "platform")) });
    }
  }

  async choose(candidates: readonly Candidate[], platform: string): Promise<StoredImage> {
    const images: { readonly config: ImageConfig; readonly manifest: JsonObject }[] = [];
    const others: string[] = [];
    for (const candidate of candidates) {
      if (candidate.platform !== undefined && candidate.platform !== platform) {
        others.push(candidate.platform);
        continue;
      }
      const image = await this.#open(candidate);
      if (image.config.platform === platform) images.push(image);
      else others.push(image.config.platform);
    }
    const [image, second] = images;
    if (image === undefined) {
      const there = [...new Set(others)].sort().join(", ");
      throw new ImageError("NO_SUCH_PLATFORM", `there is no image for ${platform}; there is ${there || "none at all"}`);
    }
    if (second !== undefined) {
      const digests = images.map(({ config }) => config.digest).join(", ");
      throw new ImageError("AMBIGUOUS_IMAGE", `${images.length} images for ${platform} (${digests}): save one alone`);
    }
    return { config: image.config, layers: await this.#layers(image.manifest, image.config) };
  }

  async #open({ descriptor }: Candidate): Promise<{ config: ImageConfig; manifest: JsonObject }> {
    const manifest = objectOf(
      await this.#verifiedJson(await this.#blob(descriptor), descriptor, "a manifest"),
      "a manifest",
    );
    const configDescriptor = objectOf(field(manifest, "config"), "a manifest's config");
    const config = await readConfig(await this.#blob(configDescriptor));
    expectDigest(textOf(field(configDescriptor, "digest"), "digest"), config.digest, "the image's configuration");
    return { config, manifest };
  }

  async #layers(manifest: JsonObject, { diffIds }: ImageConfig): Promise<StoredLayer[]> {
    const descriptors = listOf(field(manifest, "layers"), "layers").map((layer) => objectOf(layer, "a layer"));
    if (descriptors.length !== diffIds.length) {
      throw new ImageError(
        "LAYER_COUNT_MISMATCH",
        `${descriptors.length} layers, and ${diffIds.length} in the configuration`,
      );
    }
    const layers: StoredLayer[] = [];
    for (const [index, descriptor] of descriptors.entries()) {
      const type = mediaTypeOf(descriptor);
      if (!LAYER_TYPES.test(type)) throw new ImageError("LAYER_UNSUPPORTED", `a layer of type ${JSON.stringify(type)}`);
      const digest = textOf(field(descriptor, "digest"), "digest");
      layers.push({ range: await this.#blob(descriptor), digest, diffId: diffIds[index] ?? "" });
    }
    return layers;
  }

  async #verifiedJson(blob: FileRange, descriptor: JsonObject, what: string): Promise<Json> {
    const value = await readJson(blob, what);
    expectDigest(textOf(field(descriptor, "digest"), "digest"), await digestOf(blob, this.#signal), what);
    return value;
  }

  async #blob(descriptor: JsonObject): Promise<FileRange> {
    const blob = await this.#find(descriptor);
    if (blob === undefined) {
      throw new ImageError(
        "BLOB_MISSING",
        `the image names ${textOf(field(descriptor, "digest"), "digest")}, which is not in it`,
      );
    }
    return blob;
  }

  async #find(descriptor: JsonObject): Promise<FileRange | undefined> {
    const digest = textOf(field(descriptor, "digest"), "digest");
    const blob = await this.#files.find(`blobs/sha256/${digestHex(digest)}`);
    const size = field(descriptor, "size");
    // Found out before a byte of it is hashed.
    if (blob !== undefined && size !== blob.sizeBytes) {
      throw new ImageError(
        "DIGEST_MISMATCH",
        `${digest} has ${blob.sizeBytes} bytes, and not as many as its descriptor says`,
      );
    }
    return blob;
  }
}

function mediaTypeOf(descriptor: JsonObject): string {
  return textOf(field(descriptor, "mediaType"), "mediaType");
}

function platformIn(platform: Json | undefined): string | undefined {
  if (platform === undefined || platform === null) return undefined;
  const said = objectOf(platform, "platform");
  return `${textOf(field(said, "os"), "os")}/${textOf(field(said, "architecture"), "architecture")}`;
}

/** BuildKit puts provenance beside images, as manifests for the platform unknown/unknown. */
function isAttestation(descriptor: JsonObject): boolean {
  const annotations = field(descriptor, "annotations");
  if (annotations === undefined || annotations === null) return false;
  return field(objectOf(annotations, "annotations"), "vnd.docker.reference.type") === "attestation-manifest";
}
