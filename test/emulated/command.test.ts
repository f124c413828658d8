/** `cloister emulate`, as its users run it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cannotEmulate, EIF, eventually } from "./fixture.ts";

test.skipIf(cannotEmulate !== null)(
  "prints the boot's phases and how to use it, and Ctrl-C leaves no process and no socket",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "cl-"));
    const args = ["bin/cloister.js", "emulate", "--eif", EIF, "--port", "0", "--state", folder, "--console"];
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: folder },
    });
    let output = "";
    let console = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (console += chunk.toString()));
    const closed = once(child, "close");
    try {
      await eventually(
        async () => output,
        (text) => text.includes("Ctrl-C stops everything"),
        180_000,
      );
      for (const phase of ["firmware", "entropy", "heartbeat", "node", "starting", "attested", "ready"])
        expect(output).toMatch(new RegExp(`^ +[0-9]+ ms  .*${phase}`, "m"));
      expect(output).toContain("heartbeat answered on port 9000");
      expect(console).toMatch(/^\| cloister: ready [0-9]+$/m);
      const { url } = JSON.parse(await readFile(join(folder, "connection.json"), "utf8")) as { url: string };
      expect((await fetch(`${url}/readyz`)).status).toBe(200);

      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "latin1").trim().split(" ");
      expect(children.length).toBeGreaterThanOrEqual(3);
      child.kill("SIGINT");
      expect(await closed).toEqual([0, null]);
      expect(output).toContain("stopping");
      for (const pid of children) expect(existsSync(`/proc/${pid}`)).toBe(false);
    } finally {
      child.kill("SIGKILL");
      await closed;
      await rm(folder, { recursive: true, force: true });
    }
  },
);
