import { expect, test } from "vitest";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { usdcTransfer } from "../support/transactions.ts";

test("wallets sign through a rotation of the vault, a kill in its middle, and after the old generation is gone", async () => {
  await using simulator = await startSimulator();
  let client = await simulator.connect();
  const administrators = [simulator.administratorKey];
  const appId = await createApp(simulator, client);
  const { session } = await logIn(simulator, client, appId, "alice");
  const wallets = await Promise.all(Array.from({ length: 20 }, () => session.createWallet({ kind: "single-key" })));
  const expectAllSign = async () => {
    const { session: again } = await logIn(simulator, client, appId, "alice");
    for (const { walletId } of wallets) {
      await again.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
    }
  };
  const vaultId = client.vaultId;

  expect(await client.vaultStatus(administrators)).toEqual({ generation: 1, retiring: [], resealed: 0 });
  expect(await client.rotateVault(administrators)).toMatchObject({ generation: 2, retiring: [1] });
  await simulator.killEnclave();
  await simulator.startEnclave();
  client = await simulator.connect();
  expect(client.vaultId).toEqual(vaultId);
  expect(await client.vaultStatus(administrators)).toMatchObject({ generation: 2, retiring: [1] });
  await expectAllSign();

  await simulator.advanceClock(61_000);
  client = await simulator.connect();
  await expect
    .poll(async () => (await client.vaultStatus(administrators)).retiring, { timeout: 10_000, interval: 200 })
    .toEqual([]);
  await expectAllSign();
  await simulator.killEnclave();
  await simulator.startEnclave();
  client = await simulator.connect();
  expect(await client.vaultStatus(administrators)).toEqual({ generation: 2, retiring: [], resealed: 0 });
  await expectAllSign();

  const { key } = await logIn(simulator, client, appId, "mallory");
  await expect(client.rotateVault([key])).rejects.toMatchObject({ code: "NOT_ENOUGH_ADMINISTRATORS" });
});
