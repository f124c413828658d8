/**
 * Writes image/debian.lock.json and eif/kernel/kernel.lock.json anew: the versions that Debian has today, as apt resolves
 * and verifies them with Debian's own keys, in a state folder of its own. Needs apt, and no root.
 *
 *   npm run lock-debian
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEBIAN_LOCK, type DebianBase, type DebianLock, type DebianPackage } from "./image/debian.ts";
import { KERNEL_LOCK, type KernelLock } from "./image/kernel-lock.ts";

const SUITE = "bookworm";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const ARCHIVES = {
  debian: [SUITE, `${SUITE}-updates`],
  "debian-security": [`${SUITE}-security`],
} as const;

/** What compiles the native code and the kernel, and runs the bundler. */
const BUILD_ROOTS = [
  ...["bash", "bc", "binutils", "bison", "coreutils", "dash", "diffutils", "findutils", "flex", "gcc", "grep", "gzip"],
  ...["libc6-dev", "libelf-dev", "libstdc++6", "make", "mawk", "perl-base", "sed", "tar", "xz-utils"],
];
/** What Node is linked with. */
const RUNTIME_ROOTS = ["libc6", "libgcc-s1", "libstdc++6"];
const KERNEL_SOURCE = "linux-source-6.12";

const folder = mkdtempSync(join(tmpdir(), "cloister-apt-"));
try {
  const apt = prepareApt();
  console.log(`asking for what ${SUITE} has today`);
  apt("apt-get", "update");
  const lock: DebianLock = {
    suite: SUITE,
    snapshot: new Date().toISOString().replace(/[-:]|\.\d+/g, ""),
    bases: { build: resolve(apt, BUILD_ROOTS), runtime: resolve(apt, RUNTIME_ROOTS) },
  };
  writeFileSync(DEBIAN_LOCK, `${JSON.stringify(lock, null, 2)}\n`);
  const kernel: KernelLock = { snapshot: lock.snapshot, source: describe(apt, KERNEL_SOURCE) };
  writeFileSync(KERNEL_LOCK, `${JSON.stringify(kernel, null, 2)}\n`);
  const count = lock.bases.build.packages.length;
  console.log(`${DEBIAN_LOCK}: ${count} packages to build with; ${KERNEL_LOCK}: ${kernel.source.version}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

type Apt = (command: "apt-get" | "apt-cache", ...args: readonly string[]) => string;

function prepareApt(): Apt {
  for (const path of ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, "status"), "");
  const mirror = process.env["CLOISTER_DEBIAN_MIRROR"] || "http://deb.debian.org";
  const sources = Object.entries(ARCHIVES).flatMap(([archive, suites]) =>
    suites.map((suite) => `deb [arch=amd64 signed-by=${KEYRING}] ${mirror}/${archive} ${suite} main\n`),
  );
  writeFileSync(join(folder, "etc/sources.list"), sources.join(""));
  const options = {
    "Dir::Etc": join(folder, "etc"),
    "Dir::State": join(folder, "state"),
    "Dir::State::status": join(folder, "status"),
    "Dir::Cache": join(folder, "cache"),
    "APT::Architecture": "amd64",
    "APT::Architectures": "amd64",
    "APT::Sandbox::User": "",
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return (command, ...args) =>
    execFileSync(command, [...flags, ...args], { encoding: "utf8", maxBuffer: 1 << 26, env: cleanEnvironment() });
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: "C.UTF-8" };
}

/** The packages and all they depend on, as if nothing were installed. */
function resolve(apt: Apt, roots: readonly string[]): DebianBase {
  const plan = apt("apt-get", "install", "--yes", "--no-install-recommends", "--print-uris", ...roots);
  const names = [...plan.matchAll(/^'[^']+' ([^_\s]+)_/gm)].map(([, name = ""]) => name);
  return { roots, packages: [...new Set(names)].sort().map((name) => describe(apt, name)) };
}

function describe(apt: Apt, name: string): DebianPackage {
  const [newest = ""] = apt("apt-cache", "show", "--no-all-versions", name).split("\n\n");
  const field = (label: string): string => {
    const [, value] = new RegExp(`^${label}: (.+)$`, "m").exec(newest) ?? [];
    if (value === undefined) throw new Error(`${name}: apt knows no ${label}`);
    return value;
  };
  const path = field("Filename");
  return {
    name,
    version: field("Version"),
    archive: path.startsWith("pool/updates/") ? "debian-security" : "debian",
    path,
    sizeBytes: Number(field("Size")),
    sha256: field("SHA256"),
  };
}
