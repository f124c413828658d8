/** What several checks need, read once. */
import { HostError } from "../errors.ts";
import { parseDescribeEnclaves, type RunningEnclave } from "../nitro-cli/describe-enclaves.ts";
import { type EnclaveConfig, parseEnclaveConfig } from "../nitro-cli/enclave-config.ts";
import { explainNitroCli } from "../nitro-cli/explain.ts";
import { type Measurements, parseMeasurements } from "../nitro-cli/measurements.ts";
import type { MeasuredImage, MeasureImage } from "../supervisor/check-image.ts";
import { NotChecked } from "./check.ts";
import { FactError, type Facts } from "./facts.ts";

export interface Paths {
  readonly enclaveConfig: string;
  readonly parentConfig: string;
  readonly measurements: string;
  /** A copy on the host: what counts is the one inside the image. */
  readonly manifest: string;
  readonly allocator: string;
  /** A key policy that somebody else has fetched; null: ask KMS. */
  readonly keyPolicy: string | null;
  /** Where instance metadata are to be had. */
  readonly imds: string;
}

export const DEFAULT_PATHS: Paths = {
  enclaveConfig: "/etc/cloister/enclave.json",
  parentConfig: "/etc/cloister/parent.json",
  measurements: "/etc/cloister/measurements.json",
  manifest: "/etc/cloister/cloister.yaml",
  allocator: "/etc/nitro_enclaves/allocator.yaml",
  keyPolicy: null,
  imds: "http://169.254.169.254",
};

/** What the checks want to know of parent.json. */
export interface ParentSettings {
  readonly vsock: { readonly kind: string; readonly enclaveCid?: number; readonly toHost?: boolean | undefined };
  readonly http: { readonly host: string; readonly port: number };
  readonly records:
    | { readonly kind: "sqlite"; readonly file: string }
    | { readonly kind: "postgres"; readonly host: string; readonly passwordFile: string | null };
  readonly egress: { readonly allow: readonly string[] };
  readonly credentials: { readonly kind: string };
}

export interface ManifestSettings {
  readonly region: string;
  readonly kmsKeyArn: string;
  readonly egress: readonly string[];
  /** Host of KMS in this region. */
  readonly kmsHost: string;
}

export interface AccessQuestion {
  readonly policy: string;
  readonly principalArn: string;
  readonly operation: "Decrypt" | "GenerateDataKey";
  readonly documentPcrs: ReadonlyMap<number, Uint8Array> | null;
  readonly keyArn: string;
}

/** Judges from other folders, which this one may not import. */
export interface Tools {
  /** Throws, naming what is wrong. */
  parseParentConfig(bytes: Uint8Array): ParentSettings;
  parseManifest(bytes: Uint8Array): ManifestSettings;
  measureImage: MeasureImage;
  /** What an enclave of this role shows in PCR3. */
  pcr3OfRoleArn(roleArn: string): Promise<Uint8Array>;
  /** `statement`: which decided, if one did. */
  decideKeyAccess(question: AccessQuestion): { readonly isAllowed: boolean; readonly statement: string | null };
}

export class Context {
  readonly facts: Facts;
  readonly tools: Tools;
  readonly paths: Paths;

  readonly enclaveConfig: () => Promise<EnclaveConfig>;
  readonly parentConfig: () => Promise<ParentSettings>;
  readonly measurements: () => Promise<Measurements>;
  readonly manifest: () => Promise<ManifestSettings>;
  readonly image: () => Promise<MeasuredImage>;
  readonly enclaves: () => Promise<readonly RunningEnclave[]>;

  constructor(facts: Facts, tools: Tools, paths: Paths) {
    this.facts = facts;
    this.tools = tools;
    this.paths = paths;
    const parsed = <Value>(path: string, parse: (bytes: Uint8Array) => Value) =>
      once(async () => parse(await facts.readFile(path)));
    this.enclaveConfig = parsed(paths.enclaveConfig, parseEnclaveConfig);
    this.parentConfig = parsed(paths.parentConfig, (bytes) => tools.parseParentConfig(bytes));
    this.measurements = parsed(paths.measurements, parseMeasurements);
    this.manifest = parsed(paths.manifest, (bytes) => tools.parseManifest(bytes));
    this.image = once(async () => tools.measureImage((await this.enclaveConfig()).eifPath));
    this.enclaves = once(async () => {
      const { status, stdout, stderr } = await facts.run("nitro-cli", ["describe-enclaves"]);
      if (status === 0) return parseDescribeEnclaves(stdout);
      throw new HostError(
        "NITRO_CLI_FAILED",
        `${explainNitroCli(status)} ${stderr.trim().split("\n")[0] ?? ""}`.trim(),
      );
    });
  }

  /** For a check that is not about this: what is wrong with it, another check tells. */
  async needed<Value>(read: () => Promise<Value>, what: string): Promise<Value> {
    try {
      return await read();
    } catch (cause) {
      const why =
        cause instanceof FactError && cause.code === "DENIED" ? "may not be read by this user" : "cannot be used";
      throw new NotChecked(`${what} ${why}`, { cause });
    }
  }

  /** Text, or null where there is no such file. */
  async text(path: string): Promise<string | null> {
    try {
      return new TextDecoder().decode(await this.facts.readFile(path));
    } catch (error) {
      if (error instanceof FactError && error.code === "ABSENT") return null;
      throw error;
    }
  }
}

function once<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let reading: Promise<Value> | undefined;
  return () => {
    reading ??= read();
    return reading;
  };
}
