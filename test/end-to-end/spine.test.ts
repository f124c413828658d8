import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recoverMessageAddress, recoverTransactionAddress, type TransactionSerializedEIP1559 } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, RefusedError } from "../../client/index.ts";
import type { Wallet } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { usdcTransfer } from "../support/transactions.ts";

async function senderOf(signedTransaction: string): Promise<string> {
  return recoverTransactionAddress({ serializedTransaction: signedTransaction as TransactionSerializedEIP1559 });
}

describe("one simulator", () => {
  let simulator: Simulator;
  let client: Client;
  let appId: string;

  beforeAll(async () => {
    simulator = await startSimulator();
    client = await simulator.connect();
    appId = await createApp(simulator, client);
  });
  afterAll(() => simulator.stop());

  test.each(["hd", "single-key"] as const)("a %s wallet signs a USDC transfer, which viem recovers", async (kind) => {
    const { session } = await logIn(simulator, client, appId, "alice");
    const wallet = await session.createWallet({ kind });
    const { signedTransaction } = await session.signTransaction({
      walletId: wallet.walletId,
      chainId: "1",
      unsignedTransaction: usdcTransfer(),
    });
    expect(await senderOf(signedTransaction)).toBe(wallet.accounts[0].address);
  });

  test("a wallet signs a message, which viem recovers", async () => {
    const { session } = await logIn(simulator, client, appId, "alice");
    const wallet = await session.createWallet({ kind: "single-key" });
    const message = "0x68656c6c6f20e282ac" as const;
    const { signature } = await session.signMessage({ walletId: wallet.walletId, message });
    const signer = await recoverMessageAddress({ message: { raw: message }, signature: signature as `0x${string}` });
    expect(signer).toBe(wallet.accounts[0].address);
  });

  test("the same request id finds the same wallet, and another kind under it is refused", async () => {
    const { session } = await logIn(simulator, client, appId, "retry");
    const requestId = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";
    const first = await session.createWallet({ kind: "hd" }, { requestId });
    // The second must be dated later: that is what tells a retry from a replay.
    await new Promise((resolve) => setTimeout(resolve, 5));
    const again = await session.createWallet({ kind: "hd" }, { requestId });
    expect(again).toEqual(first);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await expect(session.createWallet({ kind: "single-key" }, { requestId })).rejects.toMatchObject({
      code: "RECORD_CONFLICT",
      isFromEnclave: true,
    });
    expect((await session.listWallets()).wallets).toEqual([first]);
  });

  test("wallets are listed in pages, each once", async () => {
    const { session } = await logIn(simulator, client, appId, "collector");
    const made = await Promise.all(Array.from({ length: 20 }, () => session.createWallet({ kind: "single-key" })));
    const listed: Wallet[] = [];
    for (let more = true; more; ) {
      const page = await session.listWallets({ after: listed.at(-1)?.walletId ?? null });
      listed.push(...page.wallets);
      more = page.more;
    }
    expect(listed.map(({ walletId }) => walletId).sort()).toEqual(made.map(({ walletId }) => walletId).sort());
  });

  test("the same person in two apps is two users with two wallets", async () => {
    const otherAppId = await createApp(simulator, client, { name: "other" });
    const here = await logIn(simulator, client, appId, "twofold");
    const there = await logIn(simulator, client, otherAppId, "twofold");
    expect(there.session.userId).not.toBe(here.session.userId);
    await here.session.createWallet({ kind: "single-key" });
    expect((await there.session.listWallets()).wallets).toEqual([]);
  });

  test("64 requests at once are each answered for themselves", async () => {
    const { session } = await logIn(simulator, client, appId, "busy");
    const wallet = await session.createWallet({ kind: "single-key" });
    const signed = await Promise.all(
      Array.from({ length: 64 }, (_, nonce) =>
        session.signTransaction({
          walletId: wallet.walletId,
          chainId: "1",
          unsignedTransaction: usdcTransfer({ nonce }),
        }),
      ),
    );
    expect(new Set(signed.map(({ signedTransaction }) => signedTransaction)).size).toBe(64);
    for (const { signedTransaction } of signed)
      expect(await senderOf(signedTransaction)).toBe(wallet.accounts[0].address);
  });

  test("an eleventh session puts the oldest out", async () => {
    const first = await logIn(simulator, client, appId, "many-devices");
    for (let device = 2; device <= 10; device += 1) await logIn(simulator, client, appId, "many-devices");
    await first.session.listWallets();
    await logIn(simulator, client, appId, "many-devices");
    await expect(first.session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
  });
});

describe("restarts", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("stopped and started again on the same folder, the same wallet signs again", async () => {
    let appId: string;
    let wallet: Wallet;
    {
      await using simulator = await startSimulator({ stateFolder: folder });
      const client = await simulator.connect();
      appId = await createApp(simulator, client);
      const { session } = await logIn(simulator, client, appId, "alice");
      wallet = await session.createWallet({ kind: "hd" });
    }
    await using simulator = await startSimulator({ stateFolder: folder });
    const client = await simulator.connect();
    const { session } = await logIn(simulator, client, appId, "alice");
    expect((await session.listWallets()).wallets).toEqual([wallet]);
    const { signedTransaction } = await session.signTransaction({
      walletId: wallet.walletId,
      chainId: "1",
      unsignedTransaction: usdcTransfer(),
    });
    expect(await senderOf(signedTransaction)).toBe(wallet.accounts[0].address);
  });

  test("killed at any moment, the enclave comes back to every wallet that it had acknowledged", async () => {
    await using simulator = await startSimulator();
    // No second tries: what was cut off is what is looked at.
    let client = await simulator.connect({ attempts: 1 });
    const appId = await createApp(simulator, client);
    const acknowledged: Wallet[] = [];

    for (let round = 0; round < 4; round += 1) {
      const { session } = await logIn(simulator, client, appId, "alice");
      const work = Array.from({ length: 40 }, async () => {
        try {
          acknowledged.push(await session.createWallet({ kind: "single-key" }));
        } catch (error) {
          // Cut off by the kill: the parent says so, or the answer is lost.
          expect(error).toBeInstanceOf(RefusedError);
          expect((error as RefusedError).isFromEnclave).toBe(false);
        }
      });
      // Between the first and the last of them, at another point in each round.
      await new Promise((resolve) => setTimeout(resolve, 5 + round * 7));
      await simulator.killEnclave();
      await Promise.all(work);
      await simulator.startEnclave();
      client = await simulator.connect({ attempts: 1 });
    }

    const { session } = await logIn(simulator, client, appId, "alice");
    const listed: Wallet[] = [];
    for (let more = true; more; ) {
      const page = await session.listWallets({ after: listed.at(-1)?.walletId ?? null });
      listed.push(...page.wallets);
      more = page.more;
    }
    expect(listed).toEqual(expect.arrayContaining(acknowledged));
    for (const { walletId, accounts } of listed) {
      const { signedTransaction } = await session.signTransaction({
        walletId,
        chainId: "1",
        unsignedTransaction: usdcTransfer(),
      });
      expect(await senderOf(signedTransaction)).toBe(accounts[0].address);
    }
  });

  test("a client that was connected before a restart verifies the new enclave and goes on", async () => {
    await using simulator = await startSimulator();
    const client = await simulator.connect();
    const appId = await createApp(simulator, client);
    const { session } = await logIn(simulator, client, appId, "alice");
    const wallet = await session.createWallet({ kind: "single-key" });
    await simulator.killEnclave();
    await simulator.startEnclave();
    expect((await session.listWallets()).wallets).toEqual([wallet]);
  });
});
