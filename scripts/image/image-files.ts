/** What an image holds, file by file, read from the tar of its layer: what is measured is what is listed. */
import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { layersOf } from "./engine.ts";

export interface ImageEntry {
  readonly path: string;
  readonly kind: "file" | "folder" | "link" | "other";
  /** Permission bits, setuid and its like included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly bytes: number;
  readonly target: string | null;
}

/** Unpacks the image and lists it. Owners are those of the tar's headers: the files belong to whoever runs this. */
export async function unpackImage(layout: string, folder: string): Promise<ImageEntry[]> {
  mkdirSync(folder, { recursive: true });
  const layers = await layersOf(layout);
  const [layer] = layers;
  if (layer === undefined || layers.length > 1) throw new Error(`${layout}: ${layers.length} layers, expected one`);
  execFileSync("tar", ["-xf", layer, "-C", folder, "--no-same-owner", "--same-permissions"]);
  chmodSync(folder, 0o755);
  const owners = ownersOf(layer);
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((path) => {
      const status = lstatSync(join(folder, path));
      const [uid = -1, gid = -1] = owners.get(path) ?? [];
      const kind = status.isFile()
        ? "file"
        : status.isDirectory()
          ? "folder"
          : status.isSymbolicLink()
            ? "link"
            : "other";
      const target = kind === "link" ? readlinkSync(join(folder, path)) : null;
      return { path, kind, mode: status.mode & 0o7777, uid, gid, bytes: kind === "file" ? status.size : 0, target };
    });
}

function ownersOf(layer: string): Map<string, readonly [number, number]> {
  const listing = execFileSync("tar", ["-tvf", layer, "--numeric-owner"], { encoding: "utf8", maxBuffer: 1 << 26 });
  return new Map(
    listing.split("\n").flatMap((line) => {
      const [, uid, gid, path = ""] = /^\S+ +(\d+)\/(\d+) +\S+ \S+ \S+ (.*?)(?: -> .*)?$/.exec(line) ?? [];
      if (uid === undefined) return [];
      return [[path.replace(/^\.\//, "").replace(/\/$/, ""), [Number(uid), Number(gid)]] as const];
    }),
  );
}
