/** Bundles simulator/hardware-probe for deploy/hardware-probe/Dockerfile. */
import { build } from "esbuild";

await build({
  entryPoints: ["simulator/hardware-probe/main.ts"],
  outfile: "dist/hardware-probe/main.mjs",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  conditions: ["cloister-source"],
  // CommonJS packages ask for Node's modules by require.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  external: ["pino-pretty"],
  logLevel: "warning",
});
console.log("probe: dist/hardware-probe/main.mjs");
