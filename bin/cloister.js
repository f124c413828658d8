#!/usr/bin/env node
/** Starts the command: its sources from a checkout, what was compiled of them from the published package. */
import { existsSync } from "node:fs";

/** Older ones lack SQLite and run no TypeScript. */
const MIN_NODE_MAJOR = 24;

if (Number(process.versions.node.split(".")[0]) < MIN_NODE_MAJOR) {
  console.error(
    `cloister needs Node ${MIN_NODE_MAJOR} or later; this is ${process.version}.\n` +
      'On Linux x64 the package brings its own: run it as "npx cloister" in the folder where it is installed.',
  );
  process.exit(2);
}

const source = new URL("../cli/main.ts", import.meta.url);
await import(existsSync(source) ? source.href : new URL("../dist/js/cli/main.js", import.meta.url).href);
