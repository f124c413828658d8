/** `make test-emulated`: what only an image can show. It takes dist/cloister.eif, or the file that CLOISTER_EIF names. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["cloister-source"] },
  ssr: { resolve: { conditions: ["cloister-source"] } },
  test: {
    include: ["test/emulated/**/*.test.ts"],
    pool: "forks",
    // A machine has one processor and is emulated by another: two at once would only wait for each other.
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 300_000,
    passWithNoTests: false,
    reporters:
      process.env["CI"] === undefined ? ["verbose"] : ["verbose", ["json", { outputFile: "dist/tests-emulated.json" }]],
  },
});
