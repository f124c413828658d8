/** Compiles what the package publishes to dist/js: Node runs TypeScript from a checkout, but not from node_modules. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";

rmSync("dist/js", { recursive: true, force: true });
const { status } = spawnSync("node_modules/.bin/tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
if (status !== 0) process.exit(1);
console.log("build: dist/js");
