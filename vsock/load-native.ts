/** Where compiled code is: beside the bundle in the image, in dist/native/ in a checkout. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Compiled code is needed and not there. Waiting does not help; building it does. */
export class NativeError extends Error {
  override readonly name = "NativeError";
  readonly code = "NATIVE_MISSING";
}

/** Relative to this module, which in the image is the bundle itself: `/app/main.mjs` and `/app/native/`. */
const FOLDERS = ["./native/", "../dist/native/", "../../native/"] as const;

/**
 * Loads a native addon. What it exports is the caller's to know.
 *
 * @throws {@link NativeError} `NATIVE_MISSING` where it was not built, or was built for another machine.
 */
export function loadNative(name: string, folders: readonly string[] = FOLDERS): unknown {
  for (const folder of folders) {
    const path = fileURLToPath(new URL(`${folder}${name}.node`, import.meta.url));
    if (!existsSync(path)) continue;
    try {
      return createRequire(import.meta.url)(path);
    } catch (cause) {
      throw new NativeError(`${path} cannot be loaded here: build it anew with \`make native\``, {
        cause,
      });
    }
  }
  throw new NativeError(`${name}.node is not built: run \`make native\` (it needs Linux and gcc)`);
}
