import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { enclaveOptions, startCloister } from "../support/cloister-process.ts";

let folder: string;
let simulator: Simulator;
let trust: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  simulator = await startSimulator({ stateFolder: folder });
  trust = await enclaveOptions(simulator, folder);
});
afterAll(async () => {
  await simulator.stop();
  await rm(folder, { recursive: true, force: true });
});

async function vault(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const running = startCloister(["vault", ...args]);
  // A rotation takes a minute; that it has begun is enough here.
  running.process.stdout.on("data", () => {
    if (running.output().includes("retiring 1")) running.process.kill("SIGKILL");
  });
  return { code: await running.exitCode, output: running.output() };
}

const adminKey = () => ["--admin-key", join(folder, "administrator-key.jwk.json")];

test("status names the vault and its generation", async () => {
  const { code, output } = await vault("status", ...trust, ...adminKey());
  expect(output).toMatch(/^vault [0-9a-f]{32}: generation 1, no other in use\n$/);
  expect(code).toBe(0);
});

test("an enclave that is not the expected one, or has another vault open, gets no request", async () => {
  const other = [...trust.slice(0, -1), `0=${"ab".repeat(48)}`];
  expect(await vault("status", ...other, ...adminKey())).toMatchObject({
    code: 1,
    output: expect.stringContaining("PCR_MISMATCH"),
  });
  expect(await vault("status", ...trust, ...adminKey(), "--vault-id", "00".repeat(16))).toMatchObject({
    code: 1,
    output: expect.stringContaining("VAULT_MISMATCH"),
  });
});

test("rotate begins a new generation and stays to watch", async () => {
  const { output } = await vault("rotate", ...trust, ...adminKey());
  expect(output).toContain("generation 2, retiring 1");
  const client = await simulator.connect();
  expect(await client.vaultStatus([simulator.administratorKey])).toMatchObject({ generation: 2 });
});

test.each([
  [["--help"], 0, "Usage: cloister vault"],
  [["destroy"], 2, "expected rotate or status"],
  [["status"], 2, "--url, --deployment, --root, --pcr, --admin-key are needed"],
  [
    ["status", "--url", "http://127.0.0.1:9", "--deployment", "x", "--root", "x", "--pcr", "0=x"],
    2,
    "--admin-key is needed",
  ],
])("vault %j exits with %i", async (args, code, words) => {
  expect(await vault(...args)).toMatchObject({ code, output: expect.stringContaining(words) });
});
