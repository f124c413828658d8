import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Child } from "../../simulator/child-process.ts";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("MANIFEST_OF_ANOTHER_KEY for a manifest that names a key which this folder's KMS does not have", async () => {
  await (await startSimulator({ stateFolder: folder })).stop();
  const file = join(folder, "cloister.yaml");
  const manifest = await readFile(file, "utf8");
  await writeFile(file, manifest.replace(/key\/[0-9a-f-]+/, "key/00000000-0000-0000-0000-000000000000"));
  await expect(startSimulator({ stateFolder: folder })).rejects.toMatchObject({ code: "MANIFEST_OF_ANOTHER_KEY" });
});

test("STATE_UNUSABLE for a folder that is a file, and for one that is in use", async () => {
  const file = join(folder, "file");
  await writeFile(file, "");
  await expect(startSimulator({ stateFolder: file })).rejects.toMatchObject({ code: "STATE_UNUSABLE" });
  await using _running = await startSimulator({ stateFolder: folder });
  await expect(startSimulator({ stateFolder: folder })).rejects.toMatchObject({ code: "STATE_UNUSABLE" });
});

test("PARENT_FAILED with the parent's reason, for a port that is taken", async () => {
  await using running = await startSimulator();
  const taken = startSimulator({ httpPort: Number(new URL(running.url).port) });
  await expect(taken).rejects.toMatchObject({
    code: "PARENT_FAILED",
    message: expect.stringContaining("HTTP_UNAVAILABLE"),
  });
});

test("PROCESS_FAILED with the last lines of a process that ends before it said anything", async () => {
  const file = join(folder, "fails.mjs");
  await writeFile(file, 'console.error("no luck"); process.exit(3);');
  const child = new Child({ name: "the test", command: [process.execPath, file], log: () => {} });
  await expect(child.event("ready")).rejects.toMatchObject({
    code: "PROCESS_FAILED",
    message: expect.stringMatching(/ended with 3:\nno luck/),
  });
});

test("a client that was connected before the clock moved goes on: what has ended is said to have", async () => {
  await using simulator = await startSimulator();
  const client = await simulator.connect();
  const appId = await createApp(simulator, client, { sessionLifetimeS: 900 });
  const { session } = await logIn(simulator, client, appId, "alice");
  // Ten minutes on, its requests are dated long ago: the client asks for the time and dates them anew.
  await simulator.advanceClock(600_000);
  expect((await session.listWallets()).wallets).toEqual([]);
  await simulator.advanceClock(301_000);
  await expect(session.listWallets()).rejects.toMatchObject({ code: "SESSION_EXPIRED" });
});

test("the vault can be rotated after the credentials of the start have expired", async () => {
  await using simulator = await startSimulator();
  await simulator.advanceClock(7 * 3_600_000);
  const client = await simulator.connect();
  expect(await client.rotateVault([simulator.administratorKey])).toMatchObject({ generation: 2 });
});
