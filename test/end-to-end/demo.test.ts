/** The README's first command, as a user runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the demo prints its steps and a transaction whose sender viem recovers, and leaves nothing running", async () => {
  const demo = spawn(process.execPath, ["scripts/demo.ts", "--verbose"], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let log = "";
  demo.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  demo.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
  const [code] = (await once(demo, "close")) as [number | null];
  expect(log).toContain('"event":"request"');
  expect(code).toBe(0);

  const address = /address: (0x[0-9a-fA-F]{40})/.exec(output)?.[1];
  expect(address).toBeDefined();
  expect(output).toContain(`sender: ${address}  = the wallet's address`);
  expect(output).toMatch(/signed raw transaction: 0x02[0-9a-f]{200,}/);
  expect(output.match(/^ *[0-9.]+ ms {2}/gm)).toHaveLength(10);

  const pids = [...output.matchAll(/pid ([0-9]+)/g)].map(([, pid]) => Number(pid));
  expect(pids).toHaveLength(2);
  for (const pid of pids) expect(() => readFileSync(`/proc/${pid}/status`)).toThrow();
});
