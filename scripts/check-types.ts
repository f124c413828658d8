/** Type-checks the whole tree, then each zone that must run in a browser once more without Node's types. */
import { spawnSync } from "node:child_process";

const projects = [".", "attestation", "protocol", "client", "kms-policy"];

for (const project of projects) {
  const { status } = spawnSync("node_modules/.bin/tsc", ["-p", project], { stdio: "inherit" });
  if (status !== 0) {
    console.error(`types: ${project}/tsconfig.json failed`);
    process.exit(1);
  }
}
console.log(`types: ${projects.length} projects clean`);
