/** Images as registries and engines store them, made by hand. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { archive, entry, temporaryFolder } from "./tar-fixture.ts";

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export interface ImageFields {
  readonly layers?: readonly Uint8Array[];
  readonly compression?: "none" | "gzip" | "zstd";
  readonly architecture?: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: readonly string[];
  /** Laid over the configuration and the manifest, to break them. */
  readonly config?: object;
  readonly manifest?: object;
  readonly mediaType?: string;
}

export type Files = Map<string, Uint8Array>;

export const LAYER = archive(entry({ name: "init", mode: 0o755 }, "#!init"), entry({ name: "app/main" }, "main"));

export function configOf({ layers = [LAYER], architecture = "amd64", config, ...process }: ImageFields): Buffer {
  return json({
    architecture,
    os: "linux",
    config: {
      Cmd: process.command ?? ["/app/main"],
      Entrypoint: process.entrypoint ?? null,
      Env: process.environment ?? ["PATH=/bin"],
    },
    rootfs: { type: "layers", diff_ids: layers.map(sha256) },
    ...config,
  });
}

const compress = (bytes: Uint8Array, compression: "none" | "gzip" | "zstd"): Uint8Array =>
  compression === "gzip" ? gzipSync(bytes) : compression === "zstd" ? zstdCompressSync(bytes) : bytes;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export function addBlob(files: Files, mediaType: string, bytes: Uint8Array): Descriptor {
  const digest = sha256(bytes);
  files.set(`blobs/sha256/${digest.slice(7)}`, bytes);
  return { mediaType, digest, size: bytes.length };
}

/** Adds blobs and gives the manifest's descriptor. */
export function addImage(files: Files, fields: ImageFields = {}): Descriptor {
  const { layers = [LAYER], compression = "gzip" } = fields;
  const suffix = compression === "none" ? "" : `+${compression}`;
  const mediaType = fields.mediaType ?? `application/vnd.oci.image.layer.v1.tar${suffix}`;
  const config = addBlob(files, "application/vnd.oci.image.config.v1+json", configOf(fields));
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config,
    layers: layers.map((layer) => addBlob(files, mediaType, compress(layer, compression))),
    ...fields.manifest,
  };
  return addBlob(files, "application/vnd.oci.image.manifest.v1+json", json(manifest));
}

export function addIndex(files: Files, manifests: readonly object[], name = "index.json"): Buffer {
  const index = json({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests });
  files.set("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  files.set(name, index);
  return index;
}

export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

export function ociFiles(fields: ImageFields = {}): Files {
  const files: Files = new Map();
  addIndex(files, [addImage(files, fields)]);
  return files;
}

/** `docker save` before version 25: a folder for each layer. */
export function dockerFiles(fields: ImageFields = {}): Files {
  const { layers = [LAYER], compression = "none" } = fields;
  const config = configOf(fields);
  const configName = `${sha256(config).slice(7)}.json`;
  const names = layers.map((layer) => `${sha256(layer).slice(7, 23)}/layer.tar`);
  const files: Files = new Map([[configName, config]]);
  for (const [index, name] of names.entries()) files.set(name, compress(layers[index] ?? LAYER, compression));
  files.set("manifest.json", json([{ Config: configName, RepoTags: ["app:1"], Layers: names, ...fields.manifest }]));
  return files;
}

export function asTar(files: Files): Buffer {
  return archive(...[...files].map(([name, bytes]) => entry({ name }, bytes)));
}

/** Writes the files and gives the folder's path. */
export function asFolder(files: Files): string {
  const folder = join(temporaryFolder(), "image");
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  return folder;
}

export function asFile(bytes: Uint8Array, name = "image.tar"): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, bytes);
  return path;
}

/** Another byte in the middle. */
export function damaged(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes);
  const middle = copy.length >> 1;
  copy[middle] = (copy[middle] ?? 0) ^ 1;
  return copy;
}

export { json };
