/** What stands for the measured image where there is none: the very files that the enclave's process will run. */
import { globSync, readFileSync } from "node:fs";
import { extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { pcr3OfRoleArn, pcr4OfInstanceId, pcrOfParts } from "../attestation/index.ts";

/** What Dockerfile.enclave would copy. */
const MEASURED_FOLDERS = ["attestation", "enclave", "protocol", "vsock"] as const;

/** The files as they run here: TypeScript from a checkout, JavaScript from the published package. */
const EXTENSION = extname(import.meta.url);

export interface MeasuredInstance {
  readonly manifest: Uint8Array;
  readonly roleArn: string;
  readonly instanceId: string;
}

/**
 * Computes the registers in the way of nitro.md 1.6, with the runtime in the kernel's place and the enclave's files in
 * the ramdisk's: change a byte of either, or of the manifest, and KMS sees another image.
 */
export async function measureImage({
  manifest,
  roleArn,
  instanceId,
}: MeasuredInstance): Promise<Map<number, Uint8Array>> {
  const runtime = Buffer.from(`SIMULATED IMAGE ${process.version} ${process.arch}\n`);
  const application = [...measuredFiles(), withName("cloister.yaml", manifest)];
  return new Map([
    [0, await pcrOfParts([runtime, ...application])],
    [1, await pcrOfParts([runtime])],
    [2, await pcrOfParts(application)],
    [3, await pcr3OfRoleArn(roleArn)],
    [4, await pcr4OfInstanceId(instanceId)],
  ]);
}

function measuredFiles(): Uint8Array[] {
  const root = fileURLToPath(new URL("..", import.meta.url));
  return MEASURED_FOLDERS.flatMap((folder) => globSync(`${folder}/**/*${EXTENSION}`, { cwd: root }))
    .map((path) => path.split(sep).join("/"))
    .sort()
    .map((path) => withName(path, readFileSync(join(root, path))));
}

/** Name and length before the bytes: no two sets of files give the same input. */
function withName(path: string, bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${path}\0${bytes.length}\0`), bytes]);
}
