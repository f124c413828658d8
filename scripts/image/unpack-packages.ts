/** Inside the build: unpacks the tarballs of package-lock.json into node_modules/. A wrong byte ends the build. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { imagePackages, sha512 } from "./packages.ts";

const [folder = ""] = process.argv.slice(2);
const packages = imagePackages();
for (const locked of packages) {
  const tarball = join(folder, `${locked.sha512}.tgz`);
  if (sha512(tarball) !== locked.sha512) throw new Error(`${locked.name}@${locked.version}: not the locked tarball`);
  mkdirSync(locked.folder, { recursive: true });
  const flags = ["--strip-components=1", "--no-same-owner", "--warning=no-unknown-keyword"];
  execFileSync("tar", ["-xzf", tarball, "-C", locked.folder, ...flags]);
}
console.log(`${packages.length} packages unpacked`);
