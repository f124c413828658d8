/**
 * Packs what goes onto an EC2 parent: compiled code, its packages, Node, the AF_VSOCK addon, deploy/ and docs/. The same
 * commit and lockfile make the same bytes on machines of the same architecture, since names, dates and owners are fixed.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { "without-native": { type: "boolean", default: false } } });
const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const architecture = { x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch;
const name = `cloister-${version}-linux-${architecture}`;
const ADDON = "dist/native/vsock.node";

if (!values["without-native"] && !existsSync(ADDON)) {
  console.error(`release: there is no ${ADDON}; make native builds it, and on EC2 nothing works without it`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "cloister-release-"));
try {
  const to = join(folder, name);
  execFileSync(process.execPath, ["scripts/build.ts"], { stdio: "inherit" });
  mkdirSync(join(to, "bin"), { recursive: true });
  for (const path of ["dist/js", "bin", "deploy", "docs"]) cpSync(path, join(to, path), { recursive: true });
  for (const path of ["package.json", "package-lock.json", ".npmrc", "LICENSE", "SECURITY.md"])
    copyFileSync(path, join(to, path));
  execFileSync("npm", ["ci", "--omit=dev", "--omit=optional", "--ignore-scripts", "--loglevel=error"], {
    cwd: to,
    stdio: "inherit",
  });
  rmSync(join(to, "node_modules", ".package-lock.json"), { force: true });
  // The very Node that runs this, which is the pinned one: EC2's own may be older, or change by itself.
  copyFileSync(process.execPath, join(to, "bin", "node"));
  chmodSync(join(to, "bin", "node"), 0o755);
  if (!values["without-native"]) {
    mkdirSync(join(to, "dist", "native"));
    copyFileSync(ADDON, join(to, ADDON));
  }
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  const isClean = execFileSync("git", ["status", "--porcelain"], { encoding: "utf8" }) === "";
  writeFileSync(join(to, "RELEASE"), `${name}\n${commit}${isClean ? "" : " and changes"}\n`);

  mkdirSync("dist", { recursive: true });
  const archive = resolve("dist", `${name}.tar.gz`);
  const fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"];
  // -n: no name and no date in gzip's header.
  execFileSync("tar", [
    ...fixed,
    "--mode=u+rwX,go+rX,go-w",
    "--use-compress-program=gzip -n",
    "-cf",
    archive,
    "-C",
    folder,
    name,
  ]);
  const digest = createHash("sha256").update(readFileSync(archive)).digest("hex");
  writeFileSync(`${archive}.sha256`, `${digest}  ${name}.tar.gz\n`);
  console.log(`release: dist/${name}.tar.gz\nsha256: ${digest}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
