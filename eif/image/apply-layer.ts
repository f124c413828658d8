/**
 * Puts one layer over those below it (OCI image specification, "Image Layer Filesystem Changeset"). What comes out does
 * not depend on the order of entries in the layer: whiteouts first, then entries by name, hard links last.
 */
import { baseOf, checkSymlinkTarget, directoriesAbove, normaliseName, parentOf, shown } from "./entry-name.ts";
import { ImageError } from "./errors.ts";
import type { Directory, FileTree, Leaf, Node } from "./file-tree.ts";
import type { TarEntry } from "./read-tar.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

interface Layer {
  readonly entries: Map<string, Node | HardLink>;
  /** By folder: the names in it that are hidden. */
  readonly whiteouts: Map<string, Set<string>>;
  readonly opaque: Set<string>;
}

interface HardLink {
  readonly kind: "hard-link";
  readonly target: string;
}

export interface LayerNotes {
  /** Extended attributes that cpio cannot hold, by the name of the attribute: how many files have it. */
  readonly xattrs: Map<string, number>;
}

/** @throws {@link ImageError} with the codes of names, links and whiteouts. */
export async function applyLayer(tree: FileTree, entries: AsyncIterable<TarEntry>, notes: LayerNotes): Promise<void> {
  const layer: Layer = { entries: new Map(), whiteouts: new Map(), opaque: new Set() };
  for await (const entry of entries) take(layer, entry, notes);
  for (const name of layer.opaque) whiteOut(tree, layer, name, (directory) => directory.children.clear());
  for (const [name, hidden] of layer.whiteouts) {
    whiteOut(tree, layer, name, (directory) => {
      for (const base of hidden) directory.children.delete(base);
    });
  }
  const names = [...layer.entries.keys()].sort();
  for (const name of names) {
    const entry = layer.entries.get(name);
    if (entry === undefined) continue;
    // A link's place is taken now, so that what stood there is gone and its parents are checked as everyone's.
    tree.place(name, entry.kind === "hard-link" ? placeholder(entry) : entry);
  }
  const links = new HardLinks(tree, layer.entries);
  for (const name of names) {
    if (layer.entries.get(name)?.kind === "hard-link") tree.place(name, links.resolve(name));
  }
}

function take(layer: Layer, entry: TarEntry, notes: LayerNotes): void {
  const name = normaliseName(entry.name);
  for (const xattr of entry.xattrs) noteXattr(notes, xattr);
  if (name === "") {
    // "./" is in most layers. The root's own mode and owner are the kernel's.
    if (entry.kind !== "directory") throw new ImageError("NAME_INVALID", `the root is a ${entry.kind}`);
    return;
  }
  if (takeWhiteout(layer, name)) return;
  const node = nodeOf(entry, name);
  const before = layer.entries.get(name);
  if (before !== undefined && !isSameDirectory(before, node)) {
    // Which one counts is a matter of opinion among readers: one shows an auditor the first, another runs the last.
    throw new ImageError("NAME_DUPLICATE", `${shown(name)} stands twice in one layer`);
  }
  layer.entries.set(name, node);
}

/** Notes are for people: a header can hold fifty thousand names of attributes, and a layer as many headers. */
const MAX_XATTR_NAMES = 32;
const MAX_XATTR_NAME_BYTES = 255;

function noteXattr({ xattrs }: LayerNotes, xattr: string): void {
  const name = xattr.slice(0, MAX_XATTR_NAME_BYTES);
  const key = xattrs.has(name) || xattrs.size < MAX_XATTR_NAMES ? name : "(others)";
  xattrs.set(key, (xattrs.get(key) ?? 0) + 1);
}

function takeWhiteout(layer: Layer, name: string): boolean {
  const parent = parentOf(name);
  const base = baseOf(name);
  if (`/${parent}`.includes(`/${WHITEOUT}`)) {
    throw new ImageError("WHITEOUT_INVALID", `${shown(name)} stands below a whiteout`);
  }
  if (!base.startsWith(WHITEOUT)) return false;
  if (base === OPAQUE) {
    layer.opaque.add(parent);
    return true;
  }
  const hidden = base.slice(WHITEOUT.length);
  // ".wh..wh.plnk" and the like are aufs's own; "." and ".." would take away more than a name.
  if (hidden === "" || hidden === "." || hidden === ".." || hidden.startsWith(WHITEOUT)) {
    throw new ImageError("WHITEOUT_INVALID", `the whiteout ${shown(name)} names nothing that it could hide`);
  }
  const others = layer.whiteouts.get(parent) ?? new Set();
  layer.whiteouts.set(parent, others.add(hidden));
  return true;
}

function nodeOf(entry: TarEntry, name: string): Node | HardLink {
  const { kind, mode, uid, gid } = entry;
  switch (kind) {
    case "file":
      return { kind, mode, uid, gid, content: entry.content };
    case "directory":
      return { kind, mode, uid, gid, children: new Map() };
    case "symlink":
      // Linux has no other mode for links; archivers write several.
      return { kind, mode: 0o777, uid, gid, target: checkSymlinkTarget(entry.linkName, name) };
    case "hard-link":
      return { kind, target: normaliseName(entry.linkName) };
    case "fifo":
      return { kind, mode, uid, gid };
    case "character-device":
    case "block-device":
      return { kind, mode, uid, gid, device: deviceOf(entry, name) };
  }
}

/** Linux's dev_t: 12 bits and 20 bits. */
function deviceOf({ kind, device }: TarEntry, name: string): { major: number; minor: number } {
  const { major, minor } = device;
  if (kind === "character-device" && major === 0 && minor === 0) {
    throw new ImageError("DEVICE_UNSUPPORTED", `${shown(name)} is a whiteout of overlayfs, not of an OCI layer`);
  }
  if (major > 0xfff || minor > 0xf_ffff) {
    throw new ImageError("DEVICE_UNSUPPORTED", `${shown(name)} is device ${major}:${minor}, which Linux does not have`);
  }
  return { major, minor };
}

function isSameDirectory(a: Node | HardLink, b: Node | HardLink): boolean {
  return a.kind === "directory" && b.kind === "directory" && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;
}

/** Takes away from what lower layers left at `name`, if that is a directory and stays the one it was. */
function whiteOut(tree: FileTree, layer: Layer, name: string, act: (directory: Directory) => void): void {
  let directory = tree.root;
  for (const [path, component] of name === "" ? [] : directoriesAbove(`${name}/`)) {
    const below = directory.children.get(component);
    if (below?.kind === "symlink" && !layer.entries.has(path)) {
      throw new ImageError(
        "THROUGH_SYMLINK",
        `a whiteout in ${shown(name)} leads through the symbolic link ${shown(path)}`,
      );
    }
    if (below?.kind !== "directory") return;
    directory = below;
  }
  act(directory);
}

/** Stands for a hard link until every other entry has its place; never left in the tree. */
function placeholder(link: HardLink): Leaf {
  return { kind: "symlink", mode: 0o777, uid: 0, gid: 0, target: link.target };
}

class HardLinks {
  readonly #tree: FileTree;
  readonly #entries: Layer["entries"];
  /** A chain of links is walked once, however many of its names are asked for. */
  readonly #known = new Map<string, Leaf>();

  constructor(tree: FileTree, entries: Layer["entries"]) {
    this.#tree = tree;
    this.#entries = entries;
  }

  /** @throws {@link ImageError} `LINK_TARGET` */
  resolve(name: string): Leaf {
    const chain = new Set<string>();
    let at = name;
    let found = this.#known.get(at);
    while (found === undefined) {
      if (chain.has(at)) throw new ImageError("LINK_TARGET", `the hard link ${shown(name)} leads back to itself`);
      chain.add(at);
      const entry = this.#entries.get(at);
      if (entry?.kind === "hard-link") {
        at = entry.target;
        found = this.#known.get(at);
      } else {
        found = this.#target(name, at);
      }
    }
    for (const link of chain) this.#known.set(link, found);
    return found;
  }

  #target(name: string, at: string): Leaf {
    const target = this.#tree.find(at);
    if (target === undefined) {
      throw new ImageError("LINK_TARGET", `the hard link ${shown(name)} leads to ${shown(at)}, which is not there`);
    }
    if (target.kind === "directory") {
      throw new ImageError("LINK_TARGET", `the hard link ${shown(name)} leads to the directory ${shown(at)}`);
    }
    return target;
  }
}
