/**
 * Bundles `attestation/` for browsers and holds it to a budget: whoever adds a dependency or a fallback sees it here.
 * Leaves the bundle in dist/browser/, where examples/verify-in-browser/ looks for it.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

/** What a page has to load. Raising it is a review question. */
const BUDGET_BYTES = { minified: 22_000, gzip: 8_700 } as const;
const OUTPUT_FOLDER = "dist/browser";

/**
 * One script that sets `globalThis.CloisterAttestation`. A plain script and not a module, because browsers load no
 * modules from `file://`. Anything of Node's in it fails the build: the platform is the browser, and nothing is external.
 */
export async function bundleAttestation(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: ["attestation/index.ts"],
    bundle: true,
    minify: true,
    write: false,
    platform: "browser",
    format: "iife",
    globalName: "CloisterAttestation",
    target: ["chrome115", "firefox115", "safari17"],
    legalComments: "none",
    logLevel: "warning",
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error("esbuild gave no output");
  return output.text;
}

async function main(): Promise<number> {
  const script = await bundleAttestation();
  await mkdir(OUTPUT_FOLDER, { recursive: true });
  const path = join(OUTPUT_FOLDER, "attestation.js");
  await writeFile(path, script);
  const sizes = {
    minified: Buffer.byteLength(script),
    gzip: gzipSync(script, { level: 9 }).length,
    brotli: brotliCompressSync(script).length,
  };
  const over = (["minified", "gzip"] as const).filter((form) => sizes[form] > BUDGET_BYTES[form]);
  console.log(`size: ${path}: ${sizes.minified} bytes minified, ${sizes.gzip} gzip, ${sizes.brotli} brotli`);
  for (const form of over) console.error(`size: ${form} is over its budget of ${BUDGET_BYTES[form]} bytes`);
  return over.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main();
