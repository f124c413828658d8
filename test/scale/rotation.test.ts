import { expect, test } from "vitest";
import { RefusedError } from "../../client/index.ts";
import { isPostgresAbsent } from "../../simulator/local-postgres.ts";
import { startCluster } from "../../simulator/start-cluster.ts";
import { createApp, logIn } from "../support/app.ts";
import { clientsOf } from "../support/cluster.ts";
import { usdcTransfer } from "../support/transactions.ts";

const ENCLAVES = 3;
const WORKERS = 6;

/** A clock that jumps does so at one enclave before another: what the first has dated is of the other's future meanwhile. */
function isBetweenClocks(error: unknown): boolean {
  return error instanceof RefusedError && ["REQUEST_FROM_FUTURE", "JWT_NOT_YET_VALID"].includes(error.code);
}

test.skipIf(isPostgresAbsent)(
  "the vault is rotated twice while three enclaves serve, and every wallet that was made signs at each of them",
  async () => {
    await using cluster = await startCluster({ enclaves: ENCLAVES, database: "local" });
    const administrators = [cluster.administratorKey];
    const client = await cluster.connect();
    const each = await clientsOf(cluster);
    const appId = await createApp(cluster, client);
    const walletIds: { walletId: string; worker: number }[] = [];
    let isOver = false;
    const work = async (worker: number) => {
      const through = await cluster.connect();
      while (!isOver) {
        try {
          const { session } = await logIn(cluster, through, appId, `user-${worker}`);
          for (let round = 0; round < 5 && !isOver; round += 1) {
            const { walletId } = await session.createWallet({ kind: "single-key" });
            walletIds.push({ walletId, worker });
            await session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
          }
        } catch (error) {
          if (!isBetweenClocks(error)) throw error;
        }
      }
    };
    const working = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
    // A worker's failure is the test's, whatever this waits for.
    const orFailed = <Value>(promise: Promise<Value>) => Promise.race([promise, working.then(() => promise)]);
    const vaultId = client.vaultId;
    for (const generation of [2, 3]) {
      const [by] = each.slice(generation - 2);
      expect(await orFailed((by as typeof client).rotateVault(administrators))).toMatchObject({ generation });
      await orFailed(new Promise((resolve) => setTimeout(resolve, 1_000)));
      await orFailed(cluster.advanceClock(61_000));
      for (const member of each) {
        await orFailed(
          expect
            .poll(async () => (await member.vaultStatus(administrators)).retiring, { timeout: 20_000, interval: 200 })
            .toEqual([]),
        );
        expect(await member.vaultStatus(administrators)).toMatchObject({ generation });
      }
    }
    isOver = true;
    await working;
    expect(walletIds.length).toBeGreaterThan(WORKERS);
    for (const member of each) {
      for (let worker = 0; worker < WORKERS; worker += 1) {
        const { session } = await logIn(cluster, member, appId, `user-${worker}`);
        for (const made of walletIds.filter((wallet) => wallet.worker === worker)) {
          await session.signTransaction({ walletId: made.walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
        }
      }
    }
    expect((await cluster.connect()).vaultId).toEqual(vaultId);
  },
  120_000,
);
