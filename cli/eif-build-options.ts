/** What `cloister eif build` is asked for: options read, files opened, the manifest held against its schema. */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import {
  type Architecture,
  type BuildEifOptions,
  createKeyFileSigner,
  type EifSigner,
  fileSource,
  type JsonValue,
} from "../eif/index.ts";
import { parseManifest } from "../enclave/index.ts";
import { UsageError } from "./command-io.ts";
import { parseOptionsAlone, required } from "./command-options.ts";

const OPTIONS = {
  image: { type: "string" },
  rootfs: { type: "string" },
  kernel: { type: "string" },
  cmdline: { type: "string" },
  manifest: { type: "string" },
  "tls-roots": { type: "string" },
  architecture: { type: "string" },
  name: { type: "string" },
  version: { type: "string" },
  "source-date-epoch": { type: "string" },
  compress: { type: "string" },
  "signing-certificate": { type: "string" },
  "private-key": { type: "string" },
  "nitro-cli-blobs": { type: "string" },
  "docker-semantics": { type: "boolean", default: false },
  metadata: { type: "string" },
  out: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

/**
 * One for EC2 and QEMU. `reboot=t`: a triple fault ends the machine under both, while the keyboard controller that
 * AWS's `reboot=k` asks is not there under QEMU.
 */
export const DEFAULT_CMDLINE = "reboot=t panic=30 pci=off console=ttyS0 quiet random.trust_cpu=on";

/** As nitro-cli: what `--metadata` may name. */
const MAX_METADATA_BYTES = 4096;
/** Four times all of Mozilla's roots. */
const MAX_FILE_BYTES = 1024 * 1024;
/** newc has 32 bits for a time. */
const MAX_EPOCH_SECONDS = 0xffff_ffff;

export type BuildValues = ReturnType<typeof parseBuildArgs>;

export function parseBuildArgs(args: readonly string[]) {
  return parseOptionsAlone(args, OPTIONS);
}

export interface BuildWorld {
  readonly environment: NodeJS.ProcessEnv;
  readonly toolVersion: string;
  nowMs(): number;
}

/** @throws {@link UsageError}; `StartError` `MANIFEST_INVALID`; `EifError` for files that cannot be read. */
export async function readBuildOptions(values: BuildValues, world: BuildWorld): Promise<BuildEifOptions> {
  const blobs = values["nitro-cli-blobs"];
  if (values["docker-semantics"] && blobs === undefined) {
    throw new UsageError(
      "--docker-semantics is for --nitro-cli-blobs: without it, the image's /init decides what runs",
    );
  }
  if (blobs !== undefined && values.compress === "zstd") {
    throw new UsageError("--compress zstd cannot go with --nitro-cli-blobs: AWS's kernel 4.14 does not unpack zstd");
  }
  const architecture = readArchitecture(values.architecture);
  const signer = await readSigner(values, world.nowMs());
  const customMetadata = await readMetadata(values.metadata);
  return {
    source: readSource(values),
    out: required(values.out, "--out"),
    kernel: await fileSource(kernelPath(values, architecture)),
    cmdline: await readCmdline(values),
    epochSeconds: readEpoch(values["source-date-epoch"] ?? world.environment["SOURCE_DATE_EPOCH"]),
    compression: readCompression(values.compress ?? (blobs === undefined ? "zstd" : "none")),
    configuration: await readConfiguration(values),
    toolVersion: world.toolVersion,
    ...(architecture === undefined ? {} : { architecture }),
    ...(values.name === undefined ? {} : { name: values.name }),
    ...(values.version === undefined ? {} : { version: values.version }),
    ...(customMetadata === undefined ? {} : { customMetadata }),
    ...(signer === undefined ? {} : { signer }),
    ...(blobs === undefined
      ? {}
      : {
          nitroCli: {
            init: await fileSource(join(blobs, "init")),
            nsm: await fileSource(join(blobs, "nsm.ko")),
            semantics: values["docker-semantics"] ? ("docker" as const) : ("nitro-cli" as const),
          },
        }),
  };
}

function readSource({ image, rootfs }: BuildValues): BuildEifOptions["source"] {
  if (image !== undefined && rootfs === undefined) return { kind: "image", path: image };
  if (rootfs !== undefined && image === undefined) return { kind: "rootfs", path: rootfs };
  throw new UsageError("expected one of --image and --rootfs");
}

function readArchitecture(text: string | undefined): Architecture | undefined {
  if (text === undefined || text === "x86_64" || text === "aarch64") return text;
  throw new UsageError("--architecture: expected x86_64 or aarch64");
}

function readCompression(text: string): "zstd" | "none" {
  if (text === "zstd" || text === "none") return text;
  throw new UsageError("--compress: expected zstd or none");
}

function readEpoch(text: string | undefined): number {
  if (text === undefined || text === "") return 0;
  if (!/^[0-9]{1,10}$/.test(text) || Number(text) > MAX_EPOCH_SECONDS) {
    throw new UsageError(`the source date epoch must be 0 to ${MAX_EPOCH_SECONDS} seconds`);
  }
  return Number(text);
}

function kernelPath(values: BuildValues, architecture: Architecture | undefined): string {
  const blobs = values["nitro-cli-blobs"];
  if (values.kernel !== undefined || blobs === undefined) return required(values.kernel, "--kernel");
  // nitro-cli's own names for them.
  return join(blobs, architecture === "aarch64" ? "Image" : "bzImage");
}

async function readCmdline(values: BuildValues): Promise<string> {
  const blobs = values["nitro-cli-blobs"];
  const given = values.cmdline ?? (blobs === undefined ? DEFAULT_CMDLINE : `@${join(blobs, "cmdline")}`);
  if (!given.startsWith("@")) return given;
  // As nitro-cli trims it: the newline at a file's end would change PCR0 and PCR1.
  return (await readText(given.slice(1))).trim();
}

async function readConfiguration(values: BuildValues): Promise<BuildEifOptions["configuration"]> {
  const manifest = values.manifest === undefined ? undefined : await readBytes(values.manifest);
  // An enclave with a manifest that it refuses would be found out only once it has been launched.
  if (manifest !== undefined) parseManifest(manifest);
  const tlsRoots = values["tls-roots"] === undefined ? undefined : await readBytes(values["tls-roots"]);
  if (tlsRoots !== undefined) checkTlsRoots(tlsRoots);
  return { ...(manifest === undefined ? {} : { manifest }), ...(tlsRoots === undefined ? {} : { tlsRoots }) };
}

/** Certificates and nothing else: a private key that came along would be in the image for all to read. */
function checkTlsRoots(bytes: Uint8Array): void {
  const text = Buffer.from(bytes).toString("latin1");
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw new UsageError("--tls-roots: there is a private key in it");
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new UsageError("--tls-roots: there is no certificate in it");
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch (cause) {
      throw new UsageError("--tls-roots: a certificate in it cannot be read", { cause });
    }
  }
}

async function readSigner(values: BuildValues, nowMs: number): Promise<EifSigner | undefined> {
  const certificate = values["signing-certificate"];
  const key = values["private-key"];
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new UsageError("--signing-certificate and --private-key go together");
  }
  const certificatePem = await readText(certificate);
  // As nitro-cli: a key in KMS is named in the same place.
  if (!key.startsWith("arn:")) return createKeyFileSigner(certificatePem, await readText(key), nowMs);
  const { createKmsSigner } = await import("./eif-kms-signer.ts");
  return createKmsSigner(certificatePem, key, nowMs);
}

async function readMetadata(path: string | undefined): Promise<BuildEifOptions["customMetadata"]> {
  if (path === undefined) return undefined;
  const bytes = await readBytes(path);
  if (bytes.length > MAX_METADATA_BYTES) throw new UsageError(`--metadata: over ${MAX_METADATA_BYTES} bytes`);
  let value: JsonValue;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as JsonValue;
  } catch (cause) {
    throw new UsageError("--metadata: not JSON in UTF-8", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError("--metadata: expected a JSON object, since describe-eif shows its keys among its own");
  }
  return value as { readonly [key: string]: JsonValue };
}

async function readText(path: string): Promise<string> {
  return Buffer.from(await readBytes(path)).toString("utf8");
}

async function readBytes(path: string): Promise<Uint8Array> {
  const source = await fileSource(path);
  if (source.sizeBytes > MAX_FILE_BYTES) throw new UsageError(`${path} has more than ${MAX_FILE_BYTES} bytes`);
  const pieces: Buffer[] = [];
  for await (const chunk of source.chunks()) pieces.push(Buffer.from(chunk));
  return Buffer.concat(pieces);
}
