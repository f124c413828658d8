/** The tests' own way into the vault, on which the search for secrets rests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { openState, secretsIn } from "./random-run/open-state.ts";

test("opens every record, and finds the keys of every wallet", async () => {
  const stateFolder = await mkdtemp(join(tmpdir(), "cl-state-"));
  onTestFinished(() => rm(stateFolder, { recursive: true, force: true }));
  const simulator = await startSimulator({ stateFolder });
  onTestFinished(() => simulator.stop());
  const client = await simulator.connect();
  const { session } = await logIn(simulator, client, await createApp(simulator, client), "alice");
  const hd = await session.createWallet({ kind: "hd" });
  const single = await session.createWallet({ kind: "single-key" });
  await simulator.stop();

  const opened = await openState(stateFolder);
  expect(opened.unopened).toEqual([]);
  expect(opened.vaultSecrets.get(1)).toHaveLength(32);
  const secrets = secretsIn(opened).map(({ name, bytes }) => [name.split("/").at(-1), bytes.length]);
  expect(secrets).toContainEqual([`${hd.walletId} accounts.0.privateKey`, 32]);
  expect(secrets).toContainEqual([`${hd.walletId} secret.entropy`, 16]);
  expect(secrets).toContainEqual([`${hd.walletId} secret.seed`, 64]);
  expect(secrets).toContainEqual([`${single.walletId} secret.privateKey`, 32]);
  expect(secrets.map(([name]) => name)).toContainEqual("ids key");
});
