/**
 * Names of files are bytes, in tar as in cpio: here they are strings of which each character is one byte (latin1), so
 * that comparing strings compares bytes and nothing is lost or normalised on the way.
 */
import { ImageError } from "./errors.ts";

/** Linux, limits.h: PATH_MAX counts the terminator. The kernel's unpacker skips longer ones without a word. */
export const MAX_PATH_BYTES = 4095;
/** Linux, limits.h: NAME_MAX. */
const MAX_COMPONENT_BYTES = 255;

/**
 * Brings a name into the one form that the tree uses: components joined by "/", none empty or ".", "" for the root.
 * A leading "/" means the root of the image, as everywhere. ".." is refused even where it would stay inside.
 *
 * @throws {@link ImageError} `NAME_INVALID`, `NAME_OUTSIDE_ROOT`, `NAME_TOO_LONG`
 */
export function normaliseName(name: string): string {
  if (name === "") throw new ImageError("NAME_INVALID", "an entry without a name");
  if (name.includes("\0")) throw new ImageError("NAME_INVALID", `a NUL in the name ${shown(name)}`);
  const components = name.split("/").filter((component) => component !== "" && component !== ".");
  if (components.includes("..")) throw new ImageError("NAME_OUTSIDE_ROOT", `".." in the name ${shown(name)}`);
  const normal = components.join("/");
  if (normal.length > MAX_PATH_BYTES || components.some((component) => component.length > MAX_COMPONENT_BYTES)) {
    throw new ImageError("NAME_TOO_LONG", `a name of ${normal.length} bytes: ${shown(normal)}`);
  }
  return normal;
}

/** @throws {@link ImageError} for a target that no kernel would keep. What it points to is nobody's business here. */
export function checkSymlinkTarget(target: string, name: string): string {
  if (target === "") throw new ImageError("NAME_INVALID", `the symbolic link ${shown(name)} points to nothing`);
  if (target.includes("\0")) throw new ImageError("NAME_INVALID", `a NUL in the target of ${shown(name)}`);
  if (target.length > MAX_PATH_BYTES) {
    throw new ImageError("NAME_TOO_LONG", `the target of ${shown(name)} has ${target.length} bytes`);
  }
  return target;
}

export function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf("/")));
}

export function baseOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** `a/b/c` gives `a` and `a/b`, each with its last component. */
export function* directoriesAbove(name: string): Generator<readonly [string, string]> {
  for (let from = 0; ; ) {
    const slash = name.indexOf("/", from);
    if (slash < 0) return;
    yield [name.slice(0, slash), name.slice(from, slash)];
    from = slash + 1;
  }
}

/** For messages: the beginning, read as UTF-8 where it is, without anything that could move a cursor. */
export function shown(name: string): string {
  const text = Buffer.from(name.slice(0, 120), "latin1").toString("utf8");
  const safe = text.replaceAll(
    /[^\x20-\x7e\u00a1-\u024f]/g,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
  return `"${safe}${name.length > 120 ? "…" : ""}"`;
}
