/** JSON that came with an image: bounded, and every field looked at before it is used. */
import { ImageError } from "./errors.ts";
import { type FileRange, readWhole } from "./file-range.ts";

/** containerd reads manifests up to 4 MiB; a config is smaller. */
export const MAX_JSON_BYTES = 4 * 1024 * 1024;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export async function readJson(range: FileRange, what: string): Promise<Json> {
  return decodeJson(await readWhole(range, MAX_JSON_BYTES, what), what);
}

/** @throws {@link ImageError} `JSON_MALFORMED` */
export function decodeJson(bytes: Uint8Array, what: string): Json {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Json;
  } catch (cause) {
    throw new ImageError("JSON_MALFORMED", `${what} is not JSON in UTF-8`, { cause });
  }
}

export function objectOf(value: Json | undefined, what: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(what, "an object");
  return value as JsonObject;
}

export function listOf(value: Json | undefined, what: string): readonly Json[] {
  if (!Array.isArray(value)) throw wrong(what, "a list");
  return value as readonly Json[];
}

export function textOf(value: Json | undefined, what: string): string {
  if (typeof value !== "string") throw wrong(what, "text");
  return value;
}

/** A list of texts; null and nothing are an empty one, as Go writes it. */
export function textsOf(value: Json | undefined, what: string): string[] {
  if (value === undefined || value === null) return [];
  return listOf(value, what).map((text) => textOf(text, what));
}

export function field(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function wrong(what: string, expected: string): ImageError {
  return new ImageError("JSON_MALFORMED", `${what}: expected ${expected}`);
}
