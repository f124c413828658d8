/** `cloister eif build`: a container image or a folder in, an EIF and its measurements out. */
import { readFileSync } from "node:fs";
import { BuildError, type BuildStep, type BuiltEif, buildEif, EifError, ImageError } from "../eif/index.ts";
import { StartError } from "../enclave/index.ts";
import { printable, UsageError } from "./command-io.ts";
import { type BuildWorld, DEFAULT_CMDLINE, parseBuildArgs, readBuildOptions } from "./eif-build-options.ts";

const HELP = `Usage: cloister eif build --image PATH | --rootfs DIR  --kernel FILE --out FILE [options]

Writes an enclave image. The same parts give the same bytes on any machine, as any user, without root and without docker.

  --image PATH           an OCI layout (folder or tar) or what "docker save" wrote; compressed or not
  --rootfs DIR           or a folder: files belong to root, modes are 0755 and 0644
  --kernel FILE          bzImage (x86_64) or Image (aarch64)
  --cmdline TEXT|@FILE   (default ${JSON.stringify(DEFAULT_CMDLINE)})
  --manifest FILE        cloister.yaml of the deployment, checked and put at /etc/cloister/cloister.yaml
  --tls-roots PEM        the only TLS roots that the enclave trusts, at /etc/cloister/tls-roots.pem
  --architecture NAME    x86_64 or aarch64 (default: the kernel's)
  --name NAME            for the metadata (default "cloister")
  --version VERSION      for the metadata (default: the image's id)
  --metadata FILE        a JSON object of yours for the metadata, at most 4096 bytes
  --source-date-epoch N  the time of all files and of the build (default: $SOURCE_DATE_EPOCH, or 0)
  --compress zstd|none   the ramdisks (default zstd)
  --signing-certificate PEM --private-key PEM|ARN
                         sign the image, with a key in a file or in KMS; PCR8 is then the certificate's
  --nitro-cli-blobs DIR  AWS's kernel, cmdline, init and nsm.ko, and nitro-cli's layout
  --docker-semantics     with them: run ENTRYPOINT and CMD, and not, as nitro-cli does, CMD alone
  --out FILE             written as a whole or not at all
  --help                 show this

Measurements go to standard output as nitro-cli prints them, progress to standard error.
Exit status: 0 built, 1 refused, 2 wrong usage, 128 and the signal's number when interrupted.
`;

export interface BuildIo extends BuildWorld {
  out(text: string): void;
  err(text: string): void;
  /** Ends the build; its reason is the {@link Interrupted}. */
  readonly signal: AbortSignal;
  monotonicMs(): number;
}

/** Ctrl-C and the like. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly exitStatus: number;

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP") {
    super(`interrupted by ${signal}`);
    this.exitStatus = 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal];
  }
}

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const interrupt = new AbortController();
  // They stay while the build cleans up: a second Ctrl-C must not leave half of it behind.
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onSignal = (signal: (typeof signals)[number]): void => interrupt.abort(new Interrupted(signal));
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await buildCommand(args, {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      signal: interrupt.signal,
      environment: process.env,
      toolVersion: toolVersion(),
      nowMs: Date.now,
      monotonicMs: () => performance.now(),
    });
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

/** @returns The exit status. */
export async function buildCommand(args: readonly string[], io: BuildIo): Promise<number> {
  try {
    const values = parseBuildArgs(args);
    if (values.help) {
      io.out(HELP);
      return 0;
    }
    const options = await readBuildOptions(values, io);
    io.err("Start building the Enclave Image...\n");
    const built = await buildEif(options, { signal: io.signal, onStep: stepWriter(io) });
    io.err(memoryText(built));
    io.err("Enclave Image successfully created.\n");
    io.out(`${JSON.stringify({ Measurements: built.measurements }, null, 2)}\n`);
    return 0;
  } catch (error) {
    return report(io.signal.aborted ? io.signal.reason : error, io);
  }
}

function report(error: unknown, io: BuildIo): number {
  const say = (text: string): void => io.err(`cloister eif build: ${printable(text)}\n`);
  if (error instanceof Interrupted) {
    say(`${error.message}; nothing was written`);
    return error.exitStatus;
  }
  if (error instanceof UsageError) {
    say(`${error.message}; "cloister eif build --help" tells more`);
    return 2;
  }
  if (error instanceof ImageError || error instanceof BuildError || error instanceof EifError) {
    say(`${error.code}: ${error.message}`);
    return 1;
  }
  if (error instanceof StartError) {
    say(`--manifest: ${error.code}: ${error.message}`);
    return 1;
  }
  // A full disk, a folder that cannot be written.
  if (isSystemError(error)) {
    say(error.message);
    return 1;
  }
  throw error;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

/** One line for each step, with the time since the one before. */
function stepWriter(io: BuildIo): (step: BuildStep) => void {
  let lastMs = io.monotonicMs();
  return (step) => {
    const nowMs = io.monotonicMs();
    const seconds = ((nowMs - lastMs) / 1000).toFixed(1);
    lastMs = nowMs;
    io.err(`  ${printable(stepText(step))}${step.kind === "note" ? "" : ` (${seconds} s)`}\n`);
  };
}

const RAMDISKS = ["boot", "application", "configuration"] as const;

function stepText(step: BuildStep): string {
  switch (step.kind) {
    case "kernel":
      return `kernel: Linux ${step.version} for ${step.architecture}, ${size(step.sizeBytes)}`;
    case "layer":
      return `layer ${step.index + 1} of ${step.count}: ${step.diffId.slice(0, 19)}, ${size(step.sizeBytes)}`;
    case "folder":
      return `folder ${step.path}`;
    case "note":
      return `note: ${step.text}`;
    case "ramdisk": {
      const stored = step.sizeBytes === step.unpackedBytes ? "" : `, compressed to ${size(step.sizeBytes)}`;
      return `ramdisk ${step.index} (${RAMDISKS[step.index] ?? "more"}): ${step.files} files, ${size(step.unpackedBytes)}${stored}`;
    }
  }
}

const MIB = 1024 * 1024;
/** The driver's minimum, and the size of the pages that enclaves are made of. */
const MIN_MEMORY_MIB = 64;
const PAGE_MIB = 2;

/**
 * nitro-cli refuses less than four times the image. The kernel unpacks into a tmpfs, which may take half of the memory,
 * while the image is still there: too little looks like an enclave that does not boot, without a word why.
 */
function memoryText({ sizeBytes, unpackedBytes }: BuiltEif): string {
  const [launcher, kernel] = [4 * sizeBytes, 2 * unpackedBytes + sizeBytes];
  const needed = Math.max(MIN_MEMORY_MIB, Math.ceil(Math.max(launcher, kernel) / MIB / PAGE_MIB) * PAGE_MIB);
  const why =
    launcher >= kernel ? "4 times the image" : `2 times its files, which are ${size(unpackedBytes)}, and the image`;
  return `  image: ${size(sizeBytes)}; launch it with --memory ${needed} (MiB) or more: ${why}, and what it needs to work\n`;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < MIB ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`;
}

function toolVersion(): string {
  for (const path of ["../package.json", "../../../package.json"]) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string }).version;
    } catch {
      // The other place: beside the sources, or above dist/js.
    }
  }
  return "unknown";
}
