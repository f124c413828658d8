/** Limits over kills: whatever dies between reservation and answer, never more is signed than there is room for. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { RefusedError } from "../../client/index.ts";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { usdcTransfer } from "../support/transactions.ts";

const ROOM = 150;

test("killed again and again under load, the enclave signs as much as there is room for, and no more", async () => {
  await using simulator = await startSimulator();
  let client = await simulator.connect();
  const limits = [{ asset: "requests", amount: String(ROOM), windowS: 86_400, per: "app" }] as const;
  const policy = { v: 1 as const, rules: [{ id: "some", effect: "allow" as const, when: [], limits }] };
  const appId = await createApp(simulator, client, { policy });
  const signed = new Set<string>();
  const lost: { readonly nonce: number; readonly requestId: string }[] = [];
  let nonce = 0;

  const first = await logIn(simulator, client, appId, "alice");
  const { walletId } = await first.session.createWallet({ kind: "single-key" });
  const paramsOf = (of: number) => ({ walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce: of }) });

  for (let round = 0; round < 5; round += 1) {
    client = await simulator.connect({ attempts: 1 });
    const { session } = await logIn(simulator, client, appId, "alice");
    const work = Array.from({ length: 60 }, async () => {
      const asked = { nonce: nonce++, requestId: randomUUID() };
      try {
        const { signedTransaction } = await session.signTransaction(paramsOf(asked.nonce), {
          requestId: asked.requestId,
        });
        signed.add(signedTransaction);
      } catch (error) {
        if (!(error instanceof RefusedError)) throw error;
        if (error.code !== "POLICY_DENIED") lost.push(asked);
      }
    });
    // Between the first and the last of them, at another point in each round.
    await new Promise((resolve) => setTimeout(resolve, 5 + round * 9));
    await simulator.killEnclave();
    await Promise.all(work);
    expect(signed.size).toBeLessThanOrEqual(ROOM);
    await simulator.startEnclave();
  }

  client = await simulator.connect();
  const { session } = await logIn(simulator, client, appId, "alice");
  expect(lost.length).toBeGreaterThan(0);
  const ask = async (of: number, requestId: string) => {
    try {
      signed.add((await session.signTransaction(paramsOf(of), { requestId })).signedTransaction);
    } catch (error) {
      expect(error).toMatchObject({ code: "POLICY_DENIED", details: { reason: "OVER_LIMIT" } });
    }
  };
  // Whoever's answer was lost asks again under the same id, and what was reserved for it then is not taken again.
  await Promise.all(lost.map(({ nonce: of, requestId }) => ask(of, requestId)));
  await Promise.all(Array.from({ length: ROOM }, () => ask(nonce++, randomUUID())));
  expect(signed.size).toBe(ROOM);
}, 120_000);
