/**
 * What builds container images here: buildah, podman or docker, whichever there is. The Dockerfiles ask for nothing that
 * one of them lacks, and no build reaches the network.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Base } from "./base.ts";
import { hasTool } from "./tools.ts";

type EngineName = "buildah" | "podman" | "docker";

export interface ImageBuild {
  readonly dockerfile: string;
  readonly context: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Where the image is left, as an OCI layout with one image. */
  readonly layout: string;
  readonly log: (line: string) => void;
}

export class Engine {
  readonly name: EngineName;
  readonly #env: NodeJS.ProcessEnv;
  /** What runs a build without network: `--network none` does so too, but not under buildah's chroot isolation. */
  readonly #offline: readonly string[];

  private constructor(name: EngineName) {
    this.name = name;
    // Without these, buildah wants user namespaces and an overlay driver, which a container in CI often lacks.
    const defaults = name === "buildah" ? { BUILDAH_ISOLATION: "chroot", STORAGE_DRIVER: "vfs" } : {};
    this.#env = { ...defaults, ...process.env };
    const canCut = name === "buildah" && spawnSync("unshare", ["--net", "true"]).status === 0;
    this.#offline = canCut ? ["unshare", "--net"] : [];
  }

  /** @throws if there is none that works; `CLOISTER_ENGINE` names one to use. */
  static find(): Engine {
    const asked = process.env["CLOISTER_ENGINE"];
    const names: readonly EngineName[] = ["buildah", "podman", "docker"];
    for (const name of names) {
      if (asked !== undefined && asked !== name) continue;
      // A docker client without its daemon builds nothing.
      if (hasTool(name) && (name !== "docker" || spawnSync("docker", ["info"], { stdio: "ignore" }).status === 0))
        return new Engine(name);
    }
    throw new Error(
      `${asked ?? "none of buildah, podman and docker"} is here to build images with. ` +
        "On Debian and Ubuntu: apt-get install -y --no-install-recommends buildah",
    );
  }

  /** Makes a base known to the engine. @returns What FROM can name: an id that is a hash of its content. */
  async load({ archive, reference }: Base): Promise<string> {
    if (this.name === "docker") {
      await this.#run("docker", ["load", "--input", archive], () => {});
      return reference;
    }
    const lines: string[] = [];
    await this.#run(this.name, ["pull", "--quiet", `oci-archive:${archive}`], (line) => lines.push(line));
    const id = lines.at(-1)?.trim() ?? "";
    if (!/^[0-9a-f]{64}$/.test(id)) throw new Error(`${this.name} pull gives no image id but: ${id}`);
    return id;
  }

  async build({ dockerfile, context, buildArgs, layout, log }: ImageBuild): Promise<void> {
    const given = Object.entries(buildArgs).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]);
    const tag = `localhost/cloister-building:${process.pid}`;
    const common = ["--network", "none", "--file", join(context, dockerfile), "--tag", tag, ...given, context];
    await mkdir(join(layout, ".."), { recursive: true });
    await rm(layout, { recursive: true, force: true });
    if (this.name === "docker") {
      const archive = `${layout}.tar`;
      await this.#run("docker", ["buildx", "build", "--output", `type=oci,dest=${archive}`, ...common], log);
      await mkdir(layout);
      await this.#run("tar", ["-xf", archive, "-C", layout], log).finally(() => rm(archive, { force: true }));
      return;
    }
    // No layers are kept: the last stage is one COPY, and the stages before it are not wanted again.
    const flags = ["--layers=false", "--timestamp", "0", "--format", "oci"];
    const [program = this.name, ...args] = [...this.#offline, this.name, "build", ...flags, ...common];
    await this.#run(program, args, log);
    try {
      await this.#run(this.name, ["push", "--quiet", tag, `oci:${layout}:image`], log);
    } finally {
      await this.#run(this.name, ["rmi", tag], () => {}).catch(() => {});
    }
  }

  async #run(program: string, args: readonly string[], log: (line: string) => void): Promise<void> {
    const child = spawn(program, args, { env: this.#env, stdio: ["ignore", "pipe", "pipe"] });
    let tail = "";
    for (const stream of [child.stdout, child.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text: string) => {
        tail = (tail + text).slice(-4000);
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) log(line);
      });
      stream.on("end", () => rest !== "" && log(rest));
    }
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject).on("close", resolve);
    });
    if (status !== 0) throw new Error(`${program} ${args[0]} ended with ${status ?? "a signal"}:\n${tail}`);
  }
}

/** The layers of an OCI layout's one image, oldest first, as paths of tar files. */
export async function layersOf(layout: string): Promise<string[]> {
  const blob = (digest: string): string => join(layout, "blobs", digest.replace(":", "/"));
  const read = async (path: string): Promise<Record<string, unknown>> => JSON.parse(await readFile(path, "utf8"));
  const index = await read(join(layout, "index.json"));
  const [{ digest } = { digest: "" }] = index["manifests"] as { digest: string }[];
  const manifest = await read(blob(digest));
  return (manifest["layers"] as { digest: string }[]).map((layer) => blob(layer.digest));
}
