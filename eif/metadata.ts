/** The metadata section: JSON that tools show. No PCR covers it, so nothing may be decided by it. */
import { EifError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

export interface EifMetadata {
  readonly imageName: string;
  readonly imageVersion: string;
  readonly build: {
    /** RFC 3339. AWS's tool writes nanoseconds and `+00:00`. */
    readonly time: string;
    readonly tool: string;
    readonly toolVersion: string;
    readonly operatingSystem: string;
    readonly kernelVersion: string;
  };
  /** The docker engine's description of the image, or null where no docker was there. */
  readonly dockerInfo: JsonValue;
  readonly customMetadata: JsonValue;
}

/** AWS sets no limit. DockerInfo was 1.4 kB in a real image, and what the user adds is at most 4096 bytes. */
export const MAX_METADATA_BYTES = 1024 * 1024;

/** Where serde_json, which AWS's tool reads with, stops. */
const MAX_DEPTH = 127;

/** Without whitespace, keys in the order of AWS's types. */
export function encodeMetadata(metadata: EifMetadata): Uint8Array {
  const { imageName, imageVersion, build, dockerInfo, customMetadata } = metadata;
  const json = JSON.stringify({
    ImageName: imageName,
    ImageVersion: imageVersion,
    BuildMetadata: {
      BuildTime: build.time,
      BuildTool: build.tool,
      BuildToolVersion: build.toolVersion,
      OperatingSystem: build.operatingSystem,
      KernelVersion: build.kernelVersion,
    },
    DockerInfo: dockerInfo,
    CustomMetadata: customMetadata,
  });
  return new TextEncoder().encode(json);
}

/**
 * @param bytes - At most {@link MAX_METADATA_BYTES}, as the reader has checked.
 * @throws {@link EifError} `METADATA_NOT_JSON`, `METADATA_SHAPE`
 */
export function decodeMetadata(bytes: Uint8Array): EifMetadata {
  const root = objectOf(parse(bytes), "the metadata");
  const build = objectOf(field(root, "BuildMetadata"), "BuildMetadata");
  return {
    imageName: textOf(root, "ImageName"),
    imageVersion: textOf(root, "ImageVersion"),
    build: {
      time: textOf(build, "BuildTime"),
      tool: textOf(build, "BuildTool"),
      toolVersion: textOf(build, "BuildToolVersion"),
      operatingSystem: textOf(build, "OperatingSystem"),
      kernelVersion: textOf(build, "KernelVersion"),
    },
    dockerInfo: field(root, "DockerInfo"),
    customMetadata: field(root, "CustomMetadata"),
  };
}

function parse(bytes: Uint8Array): JsonValue {
  let text: string;
  let value: JsonValue;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new EifError("METADATA_NOT_JSON", "the metadata section is not JSON in UTF-8", { cause });
  }
  if (depthOf(text) > MAX_DEPTH)
    throw new EifError("METADATA_SHAPE", `the metadata is nested deeper than ${MAX_DEPTH}`);
  return value;
}

/** Of arrays and objects, in text that is JSON. Whatever walks or writes the value may then recurse. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === "[" || token === "{") depth += 1;
    else if (token === "]" || token === "}") depth -= 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

type JsonObject = { readonly [key: string]: JsonValue };

function objectOf(value: JsonValue, name: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new EifError("METADATA_SHAPE", `${name} is no JSON object`);
  }
  return value as JsonObject;
}

function field(object: JsonObject, key: string): JsonValue {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  if (value === undefined) throw new EifError("METADATA_SHAPE", `the metadata has no ${key}`);
  return value;
}

function textOf(object: JsonObject, key: string): string {
  const value = field(object, key);
  if (typeof value !== "string") throw new EifError("METADATA_SHAPE", `${key} in the metadata is no string`);
  return value;
}
