/** What an image's configuration says of platform, command and layers (OCI image specification, "Image Configuration"). */
import { createHash } from "node:crypto";
import type { Architecture } from "../format.ts";
import { ImageError } from "./errors.ts";
import { type FileRange, readWhole } from "./file-range.ts";
import { decodeJson, field, MAX_JSON_BYTES, objectOf, textOf, textsOf } from "./json.ts";

export interface ImageConfig {
  readonly digest: string;
  /** As docker and OCI call it: amd64, arm64… */
  readonly platform: string;
  readonly command: readonly string[];
  readonly entrypoint: readonly string[];
  readonly environment: readonly string[];
  /** SHA-256 of each layer's tar archive, lowest first. */
  readonly diffIds: readonly string[];
}

const PLATFORMS: Readonly<Record<Architecture, string>> = { x86_64: "linux/amd64", aarch64: "linux/arm64" };

export function platformOf(architecture: Architecture): string {
  return PLATFORMS[architecture];
}

/** overlayfs takes 500 lower folders at most, so no engine runs an image with more layers. */
const MAX_LAYERS = 500;

export async function readConfig(range: FileRange): Promise<ImageConfig> {
  const bytes = await readWhole(range, MAX_JSON_BYTES, "the image's configuration");
  const root = objectOf(decodeJson(bytes, "the image's configuration"), "the image's configuration");
  const rootfs = objectOf(field(root, "rootfs"), "rootfs in the image's configuration");
  const process = field(root, "config") ?? {};
  const config = objectOf(process, "config in the image's configuration");
  const diffIds = textsOf(field(rootfs, "diff_ids"), "diff_ids");
  for (const diffId of diffIds) digestHex(diffId);
  if (diffIds.length > MAX_LAYERS) {
    throw new ImageError("LAYER_COUNT_MISMATCH", `${diffIds.length} layers, limit ${MAX_LAYERS}`);
  }
  return {
    digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
    platform: `${textOf(field(root, "os"), "os")}/${textOf(field(root, "architecture"), "architecture")}`,
    command: textsOf(field(config, "Cmd"), "Cmd"),
    entrypoint: textsOf(field(config, "Entrypoint"), "Entrypoint"),
    environment: textsOf(field(config, "Env"), "Env"),
    diffIds,
  };
}

/** The hexadecimal part, safe as a file name. @throws {@link ImageError} for any other hash than SHA-256. */
export function digestHex(digest: string): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
  if (hex === undefined)
    throw new ImageError("JSON_MALFORMED", `${JSON.stringify(digest.slice(0, 100))} is no SHA-256 digest`);
  return hex;
}
