/** Compares what two builds made, byte by byte. */
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Difference {
  readonly path: string;
  readonly how: string;
}

/** @returns What differs, in the order of names; nothing if both hold the same files with the same bytes. */
export function compareTrees(a: string, b: string): Difference[] {
  const names = new Set([...filesOf(a), ...filesOf(b)]);
  if (names.size === 0) return [{ path: ".", how: "neither build made anything" }];
  return [...names].sort().flatMap((path) => {
    const inA = join(a, path);
    const inB = join(b, path);
    if (!existsSync(inA) || !existsSync(inB))
      return [{ path, how: `only one build made it: ${existsSync(inA) ? a : b}` }];
    const [left, right] = [readFileSync(inA), readFileSync(inB)];
    if (left.equals(right)) return [];
    const at = left.findIndex((byte, index) => byte !== right[index]);
    const where = at === -1 ? Math.min(left.length, right.length) : at;
    return [{ path, how: `${left.length} and ${right.length} bytes, first different at ${where}` }];
  });
}

/** A file is a tree of one. */
function filesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  if (lstatSync(folder).isFile()) return [""];
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
    lstatSync(join(folder, path)).isFile(),
  );
}
