/** Bundles simulator/hardware-probe for deploy/hardware-probe/Dockerfile. */
import { relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";

const { values } = parseArgs({ options: { out: { type: "string", default: "dist/hardware-probe/main.mjs" } } });

/** Of the enclave the probe needs the device alone. The rest would come along, and look for its own native parts. */
const onlyTheDevice: Plugin = {
  name: "only-the-device",
  setup({ onResolve }) {
    onResolve({ filter: /\/enclave\/index\.ts$/ }, () => ({ path: resolve("enclave/nsm/nsm-device.ts") }));
  },
};

await build({
  entryPoints: ["simulator/hardware-probe/main.ts"],
  outfile: values.out,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  conditions: ["cloister-source"],
  plugins: [onlyTheDevice],
  logLevel: "warning",
});
console.log(`probe: ${relative(".", values.out)}`);
