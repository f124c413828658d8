/**
 * From a checkout to an enclave image: kernel, container image, EIF. Leaves dist/cloister.eif, dist/measurements.json, and
 * what each was made of beside them.
 *
 *   node scripts/build-eif.ts [--manifest cloister.yaml] [--only parts|eif]
 *
 * `--only parts` stops before the EIF is written, `--only eif` writes it from parts that are there.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { printParts } from "./bundle.ts";
import { buildContainerImage } from "./image/container-image.ts";
import type { ImageEntry } from "./image/image-files.ts";

const KERNEL = "dist/kernel/bzImage";
const IMAGE = "dist/image";
const EIF = "dist/cloister.eif";
const MEASUREMENTS = "dist/measurements.json";

const { values } = parseArgs({
  options: { manifest: { type: "string", default: "" }, only: { type: "string", default: "" } },
});

try {
  if (!["", "parts", "eif"].includes(values.only)) throw new Error("--only: expected parts or eif");
  if (values.manifest !== "" && !existsSync(values.manifest)) throw new Error(`${values.manifest} is not there`);
  mkdirSync("dist", { recursive: true });
  if (values.only !== "eif") {
    runNode(["scripts/build-kernel.ts"]);
    const { entries, parts } = await buildContainerImage((line) => console.log(`image: ${line}`));
    printParts(parts);
    printSizes(entries);
  }
  if (values.only !== "parts") writeEif();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

function writeEif(): void {
  const manifest = values.manifest === "" ? [] : ["--manifest", values.manifest];
  // Fixed, or whatever the caller's environment says of SOURCE_DATE_EPOCH would move every measurement.
  const times = ["--source-date-epoch", "0"];
  const args = [
    "bin/cloister.js",
    "eif",
    "build",
    "--image",
    IMAGE,
    "--kernel",
    KERNEL,
    ...times,
    ...manifest,
    "--out",
    EIF,
  ];
  const measurements = runNode(args);
  writeFileSync(MEASUREMENTS, measurements);
  process.stdout.write(measurements);
  console.log(`${EIF}: ${megabytes(statSync(EIF).size)}; ${MEASUREMENTS}`);
  if (values.manifest !== "") return;
  console.log("It holds the example's manifest: for a deployment of yours, make eif MANIFEST=cloister.yaml");
}

/** @returns What it printed. */
function runNode(args: readonly string[]): string {
  const { status, stdout } = spawnSync(process.execPath, args, {
    stdio: ["ignore", args[0] === "bin/cloister.js" ? "pipe" : "inherit", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${args.slice(0, 3).join(" ")} failed`);
  return stdout ?? "";
}

function printSizes(entries: readonly ImageEntry[]): void {
  const parts = new Map<string, number>([["kernel (bzImage)", readFileSync(KERNEL).length]]);
  for (const { path, bytes } of entries) {
    const part = path.startsWith("lib") ? "C libraries" : path.startsWith("app/native") ? "addons" : path;
    if (bytes > 0) parts.set(part, (parts.get(part) ?? 0) + bytes);
  }
  console.log("image, by part:");
  for (const [part, bytes] of [...parts].sort(([, a], [, b]) => b - a)) {
    console.log(`  ${megabytes(bytes).padStart(9)}  ${part}`);
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
