/** Which file goes into which ramdisk, and so into which PCR. */
import { BuildError } from "../build-errors.ts";
import { type ByteSource, bytesSource } from "../byte-source.ts";
import { type Directory, FileTree, IMPLIED_DIRECTORY, type Leaf, namesOf } from "../image/file-tree.ts";
import type { CpioEntry } from "./cpio.ts";

/** What an operator adds to an image; it goes over what the image has at the same place. */
export interface Configuration {
  readonly manifest?: Uint8Array;
  readonly tlsRoots?: Uint8Array;
}

export const MANIFEST_NAME = "etc/cloister/cloister.yaml";
export const TLS_ROOTS_NAME = "etc/cloister/tls-roots.pem";

/**
 * Boot, application, configuration: PCR1 covers the first, PCR2 the others. The first holds nothing of the image but the
 * bytes of its `/init`: two images with the same init have the same PCR1, whatever else is in them.
 *
 * @throws {@link BuildError} `NO_INIT`, `DEV_NOT_DIRECTORY`, `CONFIGURATION_CONFLICT`
 */
export function cloisterLayout(tree: FileTree, configuration: Configuration): CpioEntry[][] {
  const boot = bootRamdisk(tree.root);
  const hasDevices = devOf(tree.root).children.size > 0;
  const application = namesOf(tree.root).filter(([name]) => name !== "init" && (name !== "dev" || hasDevices));
  return [boot, application, ...configurationRamdisk(tree, configuration, "")];
}

function bootRamdisk(root: Directory): CpioEntry[] {
  const init = root.children.get("init");
  // A symbolic link would have the kernel run a file that PCR1 does not cover.
  if (init?.kind !== "file" || (init.mode & 0o111) === 0) {
    const what = init === undefined ? "has no /init" : "has an /init that is no executable file";
    throw new BuildError(
      "NO_INIT",
      `the image ${what}: the kernel would have nothing to run. Copy a static init to /init, as Dockerfile.enclave does, ` +
        "or use AWS's by --nitro-cli-blobs DIR",
    );
  }
  return [
    ["dev", emptyDirectory()],
    ["init", { kind: "file", content: init.content, ...IMPLIED_DIRECTORY }],
  ];
}

function devOf(root: Directory): Directory {
  const dev = root.children.get("dev") ?? emptyDirectory();
  if (dev.kind !== "directory") throw new BuildError("DEV_NOT_DIRECTORY", `/dev in the image is a ${dev.kind}`);
  return dev;
}

function emptyDirectory(): Directory {
  return { kind: "directory", children: new Map(), ...IMPLIED_DIRECTORY };
}

/** @returns No ramdisk, or one. */
function configurationRamdisk(tree: FileTree, { manifest, tlsRoots }: Configuration, prefix: string): CpioEntry[][] {
  const added = new FileTree();
  for (const [name, bytes] of [[MANIFEST_NAME, manifest] as const, [TLS_ROOTS_NAME, tlsRoots] as const]) {
    if (bytes === undefined) continue;
    refuseConflict(tree, name);
    added.place(prefix + name, { kind: "file", content: bytesSource(bytes), mode: 0o644, uid: 0, gid: 0 });
  }
  return added.root.children.size === 0 ? [] : [namesOf(added.root)];
}

/**
 * The kernel unpacks later archives over earlier ones: it replaces a symbolic link, cannot remove a folder that holds
 * something, and writes into a file that is there, under all its names. What would not end as it was asked is refused.
 */
function refuseConflict(tree: FileTree, name: string): void {
  const refuse = (why: string): never => {
    throw new BuildError("CONFIGURATION_CONFLICT", `/${name} cannot be put over the image: ${why}`);
  };
  for (const folder of ["etc", "etc/cloister"]) {
    const found = tree.find(folder);
    if (found !== undefined && found.kind !== "directory") refuse(`/${folder} is a ${found.kind} there`);
  }
  const found = tree.find(name);
  if (found === undefined) return;
  if (found.kind !== "file") refuse(`it is a ${found.kind} there`);
  if (namesOf(tree.root).filter(([, node]) => node === found).length > 1)
    refuse("it has other names there (hard links)");
}

export interface NitroCliBlobs {
  readonly init: ByteSource;
  readonly nsm: ByteSource;
}

/** The folders that AWS's init mounts over, and that linuxkit makes. */
const MOUNT_POINTS = ["dev", "proc", "run", "sys", "tmp", "var"];

/**
 * nitro-cli's own layout, for AWS's init (nitro.md 1.9, 1.10).
 *
 * @param command - As {@link commandOf} gives it.
 * @throws {@link BuildError} `COMMAND_NEWLINE`
 */
export function nitroCliLayout(
  tree: FileTree,
  blobs: NitroCliBlobs,
  process: { readonly command: readonly string[]; readonly environment: readonly string[] },
  configuration: Configuration,
): CpioEntry[][] {
  const executable = (content: ByteSource): Leaf => ({ kind: "file", content, ...IMPLIED_DIRECTORY });
  const root: Directory = { ...tree.root, children: new Map(tree.root.children) };
  for (const name of MOUNT_POINTS) {
    if (!root.children.has(name)) root.children.set(name, emptyDirectory());
  }
  const customer = new FileTree();
  customer.place("rootfs", root);
  customer.place("cmd", lines("command", process.command));
  customer.place("env", lines("environment", process.environment));
  return [
    [
      ["dev", emptyDirectory()],
      ["init", executable(blobs.init)],
      ["nsm.ko", executable(blobs.nsm)],
    ],
    namesOf(customer.root),
    ...configurationRamdisk(tree, configuration, "rootfs/"),
  ];
}

/** AWS's init reads line by line. An empty file would have it run a shell: both files are always written. */
function lines(what: string, values: readonly string[]): Leaf {
  for (const value of values) {
    if (/[\n\0]/.test(value)) {
      throw new BuildError("COMMAND_NEWLINE", `the ${what} holds a newline or NUL, which AWS's init cannot be told`);
    }
  }
  const text = values.map((value) => `${value}\n`).join("");
  return { kind: "file", content: bytesSource(new TextEncoder().encode(text)), mode: 0o644, uid: 0, gid: 0 };
}

/**
 * nitro-cli runs `Cmd`, and `Entrypoint` only where there is no `Cmd`; docker runs both, one after the other.
 *
 * @throws {@link BuildError} `NO_COMMAND`
 */
export function commandOf(
  { command, entrypoint }: { readonly command: readonly string[]; readonly entrypoint: readonly string[] },
  semantics: "nitro-cli" | "docker",
): readonly string[] {
  const chosen = semantics === "docker" ? [...entrypoint, ...command] : command.length > 0 ? command : entrypoint;
  if (chosen.length === 0) throw new BuildError("NO_COMMAND", "the image has neither CMD nor ENTRYPOINT");
  return chosen;
}
