/** A PostgreSQL of one's own: that there is none is said, and that none is left behind. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SimulatorError } from "../../simulator/errors.ts";
import { isPostgresAbsent, postgresBinaries } from "../../simulator/local-postgres.ts";

const PATIENCE_MS = 20_000;

test("where none is installed, that is said", () => {
  expect(() => postgresBinaries("/nowhere/*/bin")).toThrow(
    expect.objectContaining({ code: "POSTGRES_ABSENT" } satisfies Partial<SimulatorError>),
  );
});

test.skipIf(isPostgresAbsent)(
  "one whose starter is killed ends as well, and its folder goes",
  { timeout: 60_000 },
  async () => {
    const module = new URL("../../simulator/local-postgres.ts", import.meta.url);
    const source = `
    import { startLocalPostgres } from ${JSON.stringify(module.href)};
    const { admin } = await startLocalPostgres({}, () => {});
    console.log(admin.host);
    setInterval(() => {}, 1000);
  `;
    const starter = spawn(process.execPath, ["--input-type=module", "--eval", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(starter.stdout, "data")) as [Buffer];
    const folder = line.toString().trim();
    const pid = Number(readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0]);
    expect(isRunning(pid)).toBe(true);
    const ended = once(starter, "exit");
    starter.kill("SIGKILL");
    await ended;
    const deadline = performance.now() + PATIENCE_MS;
    while ((isRunning(pid) || existsSync(folder)) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect([isRunning(pid), existsSync(folder)]).toEqual([false, false]);
  },
);

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
