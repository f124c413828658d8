/**
 * A folder of the host as root file system. Owners are root and modes one of two, so that user, umask and file system
 * do not matter; setuid bits, devices and hard links are for images, whose tars say them.
 */
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, stat } from "node:fs/promises";
import type { ByteSource } from "../byte-source.ts";
import type { Budget } from "./budget.ts";
import { checkSymlinkTarget, normaliseName, shown } from "./entry-name.ts";
import { ImageError } from "./errors.ts";
import { FileTree, IMPLIED_DIRECTORY, type Node, type Owned } from "./file-tree.ts";

export interface ReadDirectory {
  readonly tree: FileTree;
  /** Names that are not ASCII. Some file systems give back other bytes than they were given. */
  readonly foreignNames: readonly string[];
}

const EXECUTABLE: Owned = { mode: 0o755, uid: 0, gid: 0 };
const PLAIN: Owned = { mode: 0o644, uid: 0, gid: 0 };

/** @throws {@link ImageError} `UNREADABLE`, `FILE_KIND_UNSUPPORTED`, and the codes of names and limits. */
export async function readDirectory(folder: string, budget: Budget, signal: AbortSignal): Promise<ReadDirectory> {
  const root = await stat(folder).catch((cause: Error) => {
    throw new ImageError("UNREADABLE", `cannot read ${folder}: ${cause.message}`, { cause });
  });
  if (!root.isDirectory()) throw new ImageError("UNREADABLE", `${folder} is no folder`);
  const tree = new FileTree();
  const foreignNames: string[] = [];
  const left = [""];
  for (let below = left.pop(); below !== undefined; below = left.pop()) {
    signal.throwIfAborted();
    for (const base of await namesIn(folder, below)) {
      const name = normaliseName(below === "" ? base : `${below}/${base}`);
      if (/[^\x20-\x7e]/.test(base)) foreignNames.push(name);
      const node = await nodeAt(folder, name, budget);
      tree.place(name, node);
      if (node.kind === "directory") left.push(name);
    }
  }
  return { tree, foreignNames: foreignNames.sort() };
}

async function namesIn(folder: string, below: string): Promise<string[]> {
  const names = await readdir(hostPath(folder, below), { encoding: "buffer" }).catch((cause: Error) => {
    throw new ImageError("UNREADABLE", `cannot read ${shown(below)} in ${folder}: ${cause.message}`, { cause });
  });
  return names.map((name) => name.toString("latin1"));
}

async function nodeAt(folder: string, name: string, budget: Budget): Promise<Node> {
  try {
    return await unguardedNodeAt(folder, name, budget);
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError("UNREADABLE", `cannot read ${shown(name)} in ${folder}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function unguardedNodeAt(folder: string, name: string, budget: Budget): Promise<Node> {
  const path = hostPath(folder, name);
  const found = await lstat(path, { bigint: true });
  if (found.isDirectory()) {
    budget.takeEntry(name, "");
    return { kind: "directory", children: new Map(), ...IMPLIED_DIRECTORY };
  }
  if (found.isSymbolicLink()) {
    const target = (await readlink(path, { encoding: "buffer" })).toString("latin1");
    budget.takeEntry(name, target);
    return { kind: "symlink", mode: 0o777, uid: 0, gid: 0, target: checkSymlinkTarget(target, name) };
  }
  if (!found.isFile()) {
    throw new ImageError("FILE_KIND_UNSUPPORTED", `${shown(name)} is neither a file, a folder nor a symbolic link`);
  }
  budget.takeEntry(name, "");
  budget.takeBytes(Number(found.size));
  const isExecutable = (found.mode & 0o100n) !== 0n;
  return { kind: "file", content: hostFile(path, found), ...(isExecutable ? EXECUTABLE : PLAIN) };
}

/** Names go back to the host as the very bytes that it gave. */
function hostPath(folder: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, "latin1")]);
}

const CHUNK_BYTES = 256 * 1024;

/** Not openUnchanging's: the name may be no UTF-8, and nothing may be read through a link. */
function hostFile(path: Buffer, found: BigIntStats): ByteSource {
  const sizeBytes = Number(found.size);
  return {
    sizeBytes,
    async *chunks() {
      // Without O_NONBLOCK, opening a FIFO that has taken its place would wait for a writer that never comes.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const file = await open(path, flags).catch((cause: Error) => {
        throw new ImageError("UNREADABLE", `cannot read ${path}: ${cause.message}`, { cause });
      });
      try {
        await checkSame(file, found, path);
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes));
        for (let at = 0; at < sizeBytes; ) {
          const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, sizeBytes - at), at);
          if (bytesRead === 0) throw new ImageError("UNREADABLE", `${path} became shorter while it was read`);
          yield buffer.subarray(0, bytesRead);
          at += bytesRead;
        }
        await checkSame(file, found, path);
      } finally {
        await file.close();
      }
    },
  };
}

/** What was judged and counted is what is read, from the first byte to the last. */
async function checkSame(file: FileHandle, found: BigIntStats, path: Buffer): Promise<void> {
  const now = await file.stat({ bigint: true });
  const same = (["dev", "ino", "mode", "size", "mtimeNs"] as const).every((field) => now[field] === found[field]);
  if (!same) throw new ImageError("UNREADABLE", `${path} was changed while the folder was read`);
}
