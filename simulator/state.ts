/** The folder that a simulator keeps: records, KMS keys, the manifest and one administrator's key. */
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { type StampKey, stampKeyFromJwk } from "../client/index.ts";
import { encodeHex } from "../protocol/index.ts";
import { SimulatorError } from "./errors.ts";

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;

export interface State {
  readonly recordsFile: string;
  readonly kmsFile: string;
  readonly administratorKey: StampKey;
  /** What `cloister.yaml` holds; null where none was written yet. */
  readonly manifest: Uint8Array | null;
  writeManifest(fields: object): Promise<Uint8Array>;
}

/**
 * Opens the folder, and makes it and its administrator's key where there are none.
 *
 * @throws {@link SimulatorError} `STATE_UNUSABLE`
 */
export async function openState(folder: string): Promise<State> {
  const manifestFile = join(folder, "cloister.yaml");
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return {
      recordsFile: join(folder, "records.sqlite"),
      kmsFile: join(folder, "kms.json"),
      administratorKey: await administratorKey(join(folder, "administrator-key.jwk.json")),
      manifest: existsSync(manifestFile) ? await readFile(manifestFile) : null,
      async writeManifest(fields) {
        const bytes = Buffer.from(
          `# Part of the simulated image: a change here is another image.\n${stringify(fields)}`,
        );
        await writeWhole(manifestFile, bytes);
        return bytes;
      },
    };
  } catch (cause) {
    if (cause instanceof SimulatorError) throw cause;
    const { message } = cause as Error;
    throw new SimulatorError("STATE_UNUSABLE", `the state folder ${folder} cannot be used: ${message}`, { cause });
  }
}

export function manifestFields(options: {
  readonly deployment: string;
  readonly region: string;
  readonly kmsKeyArn: string;
  readonly administratorKey: StampKey;
  /** That one alone unless given. */
  readonly administrators?: { readonly threshold: number; readonly alsoPublicKeys: readonly string[] };
  readonly egress: readonly string[];
}): object {
  const { deployment, region, kmsKeyArn, administratorKey, egress } = options;
  const { threshold, alsoPublicKeys } = options.administrators ?? { threshold: 1, alsoPublicKeys: [] };
  return {
    version: 1,
    deployment,
    region,
    kmsKeyArn,
    administrators: { threshold, publicKeys: [encodeHex(administratorKey.publicKey), ...alsoPublicKeys] },
    egress: [...egress],
  };
}

async function administratorKey(file: string): Promise<StampKey> {
  if (!existsSync(file)) {
    const pair = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
    await writeWhole(file, Buffer.from(JSON.stringify(jwk)));
  }
  const text = await readFile(file, "utf8");
  try {
    return await stampKeyFromJwk(JSON.parse(text) as JsonWebKey);
  } catch (cause) {
    throw new SimulatorError("STATE_UNUSABLE", `${file} is no P-256 key in a JWK`, { cause });
  }
}

/** Written beside and renamed over: a reader finds the old file or the new one, never a part. */
async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const part = `${file}.part`;
  await writeFile(part, bytes, { mode: 0o600, flush: true });
  await chmod(part, 0o600);
  await rename(part, file);
}
