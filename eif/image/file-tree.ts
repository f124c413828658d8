/** The file system of an image as it is put together: names, owners and modes here, contents where they lie. */
import type { ByteSource } from "../byte-source.ts";
import { baseOf, directoriesAbove, parentOf, shown } from "./entry-name.ts";
import { ImageError } from "./errors.ts";

export interface Owned {
  /** Permissions, setuid, setgid and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export type Leaf =
  | (Owned & { readonly kind: "file"; readonly content: ByteSource })
  | (Owned & { readonly kind: "symlink"; readonly target: string })
  | (Owned & {
      readonly kind: "character-device" | "block-device";
      readonly device: { readonly major: number; readonly minor: number };
    })
  | (Owned & { readonly kind: "fifo" });

export interface Directory extends Owned {
  readonly kind: "directory";
  readonly children: Map<string, Node>;
}

/** Two names of one leaf are one object in two places: a hard link. */
export type Node = Leaf | Directory;

/** What a folder gets that no layer describes: as containerd and docker make it. */
export const IMPLIED_DIRECTORY: Owned = { mode: 0o755, uid: 0, gid: 0 };

export class FileTree {
  readonly root: Directory = { kind: "directory", children: new Map(), ...IMPLIED_DIRECTORY };
  readonly #onImplied: (name: string) => void;

  /** @param onImplied - Hears of each directory that no entry describes: one long name can imply two thousand. */
  constructor(onImplied: (name: string) => void = () => undefined) {
    this.#onImplied = onImplied;
  }

  /** @returns `undefined` where nothing is, and where a name leads through something that is no directory. */
  find(name: string): Node | undefined {
    if (name === "") return this.root;
    let node: Node | undefined = this.root;
    for (const component of name.split("/")) {
      if (node?.kind !== "directory") return undefined;
      node = node.children.get(component);
    }
    return node;
  }

  /**
   * The directory that holds `name`, made where it is missing. Symbolic links are never followed: what a layer writes
   * through one would land where the name does not say.
   *
   * @throws {@link ImageError} `THROUGH_SYMLINK`, `PARENT_NOT_DIRECTORY`
   */
  parentFor(name: string): Directory {
    let directory = this.root;
    for (const [path, component] of directoriesAbove(name)) {
      let next = directory.children.get(component);
      if (next === undefined) {
        this.#onImplied(path);
        next = { kind: "directory", children: new Map(), ...IMPLIED_DIRECTORY };
        directory.children.set(component, next);
      }
      if (next.kind === "symlink") {
        throw new ImageError(
          "THROUGH_SYMLINK",
          `${shown(name)} would be written through the symbolic link ${shown(path)} to ${shown(next.target)}; write the entry under the link's target instead`,
        );
      }
      if (next.kind !== "directory") {
        throw new ImageError(
          "PARENT_NOT_DIRECTORY",
          `${shown(name)} stands below ${shown(path)}, which is a ${next.kind}`,
        );
      }
      directory = next;
    }
    return directory;
  }

  /** Replaces what has that name. A directory over a directory keeps what is in it. */
  place(name: string, node: Node): void {
    const parent = this.parentFor(name);
    const base = baseOf(name);
    const before = parent.children.get(base);
    if (node.kind === "directory" && before?.kind === "directory") {
      parent.children.set(base, { ...node, children: before.children });
    } else {
      parent.children.set(base, node);
    }
  }

  remove(name: string): void {
    const parent = this.find(parentOf(name));
    if (parent?.kind === "directory") parent.children.delete(baseOf(name));
  }
}

/** Every name with its node, in the order of the names' bytes, which puts a directory before what is in it. */
export function namesOf(root: Directory): (readonly [string, Node])[] {
  const names: (readonly [string, Node])[] = [];
  const left: (readonly [string, Directory])[] = [["", root]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [prefix, directory] = next;
    for (const [base, node] of directory.children) {
      names.push([prefix + base, node]);
      if (node.kind === "directory") left.push([`${prefix}${base}/`, node]);
    }
  }
  // Code units of these strings are bytes; a comparison by locale would not be the same everywhere.
  return names.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
