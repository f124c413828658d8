/** Builds the image of Dockerfile.enclave out of a checkout, and checks what came out. */
import { readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BundlePart, bundleEnclave } from "../bundle.ts";
import { checkTree } from "../check-bundle.ts";
import { makeBase } from "./base.ts";
import { Engine } from "./engine.ts";
import { type ImageEntry, unpackImage } from "./image-files.ts";
import { collectLibsecp256k1 } from "./libsecp256k1.ts";
import { collectTarballs } from "./packages.ts";

export interface ContainerImage {
  /** An OCI layout. */
  readonly layout: string;
  readonly entries: readonly ImageEntry[];
  /** What its program was bundled from. */
  readonly parts: readonly BundlePart[];
}

/**
 * Builds it into dist/image, and the bundle once more into dist/bundle, where its source map and notices stay.
 *
 * @throws if the image holds what it must not, or another bundle than this checkout gives.
 */
export async function buildContainerImage(say: (line: string) => void): Promise<ContainerImage> {
  const engine = Engine.find();
  const bases = { build: await makeBase("build", say), runtime: await makeBase("runtime", say) };
  rmSync("dist/packages", { recursive: true, force: true });
  await collectTarballs("dist/packages", say);
  await collectLibsecp256k1("dist/packages", say);
  const buildArgs = { BUILD_BASE: await engine.load(bases.build), RUNTIME_BASE: await engine.load(bases.runtime) };
  say(`building the container image with ${engine.name}`);
  const layout = "dist/image";
  const log = (line: string): void => {
    if (/^(\[|STEP)/.test(line)) say(line);
  };
  await engine.build({ dockerfile: "Dockerfile.enclave", context: ".", buildArgs, layout, log });
  const parts = await bundleEnclave("dist/bundle");

  const folder = await mkdtemp(join(tmpdir(), "cloister-image-"));
  try {
    const entries = await unpackImage(layout, folder);
    const findings = checkTree(folder);
    if (findings.length > 0) {
      const lines = findings.map(({ path, what, excerpt }) => `${path.slice(folder.length)}: ${what}: ${excerpt}`);
      throw new Error(`the image holds what it must not:\n${lines.join("\n")}`);
    }
    if (!readFileSync(join(folder, "app/main.mjs")).equals(readFileSync("dist/bundle/main.mjs")))
      throw new Error("the image's bundle is not the one of dist/bundle: the base's Node or npm's packages differ");
    return { layout, entries, parts };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
