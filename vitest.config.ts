import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["cloister-source"] },
  ssr: { resolve: { conditions: ["cloister-source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    // They need an image and an emulator: `make test-emulated`.
    exclude: ["test/emulated/**"],
    // Each file in a process of its own: tests start servers and kill enclaves, and must not share state.
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Named refusals are what this project promises; a run that found no test is a failed run.
    passWithNoTests: false,
    // .ci/run counts from this file.
    reporters: process.env["CI"] === undefined ? ["default"] : ["default", ["json", { outputFile: "dist/tests.json" }]],
  },
});
