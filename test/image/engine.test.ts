/** A build that could reach the network would not be a function of the locks. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeBase } from "../../scripts/image/base.ts";
import { cacheFolder } from "../../scripts/image/debian.ts";
import { Engine, layersOf } from "../../scripts/image/engine.ts";

const BUILDAH_ABSENT = spawnSync("buildah", ["--version"]).status !== 0;
/** What `make eif` leaves: a test does not download seventy megabytes. */
const BASES_ABSENT = spawnSync("sh", ["-c", `ls ${cacheFolder("bases")}/build-*.tar`]).status !== 0;
const CANNOT_CUT = spawnSync("unshare", ["--net", "true"]).status !== 0;

describe.skipIf(BUILDAH_ABSENT || BASES_ABSENT)("a build by buildah", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cl-engine-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.skipIf(CANNOT_CUT)(
    "has no network but its own loopback, and says what it prints",
    { timeout: 300_000 },
    async () => {
      const script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' > /out";
      await writeFile(
        join(folder, "Dockerfile"),
        `ARG BUILD_BASE\nFROM \${BUILD_BASE} AS build\nRUN ["/bin/sh", "-c", "echo hello; ${script}"]\n` +
          "FROM scratch\nCOPY --from=build /out /out\n",
      );
      const engine = Engine.find();
      const lines: string[] = [];
      await engine.build({
        dockerfile: "Dockerfile",
        context: folder,
        buildArgs: { BUILD_BASE: await engine.load(await makeBase("build", () => {})) },
        layout: join(folder, "layout"),
        log: (line) => lines.push(line),
      });
      const [layer = ""] = await layersOf(join(folder, "layout"));
      expect(spawnSync("tar", ["-xOf", layer, "out"], { encoding: "utf8" }).stdout).toBe("lo\n");
      expect(lines).toContain("hello");
    },
  );

  test("that fails says how", { timeout: 300_000 }, async () => {
    await writeFile(join(folder, "Dockerfile"), "FROM scratch\nCOPY nothing /\n");
    const layout = join(folder, "none");
    const build = Engine.find().build({
      dockerfile: "Dockerfile",
      context: folder,
      buildArgs: {},
      layout,
      log: () => {},
    });
    await expect(build).rejects.toThrow(/ended with 125:[\s\S]*nothing/);
  });
});
