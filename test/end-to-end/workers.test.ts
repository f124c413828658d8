/** A deployment whose enclave signs on threads of its own: what callers see is what they see of one thread. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

test("an enclave with two signing workers signs, refuses a replay, and a session that has ended at once", {
  timeout: 90_000,
}, async () => {
  await using simulator = await startSimulator({ signingWorkers: 2 });
  const client = await simulator.connect();
  const appId = await createApp(simulator, client);
  const alice = await logIn(simulator, client, appId, "alice");
  const { walletId } = await alice.session.createWallet({ kind: "hd" });
  const readiness = async () => await (await fetch(`${simulator.url}/readyz`)).json();
  await expect.poll(readiness, { timeout: 30_000 }).toMatchObject({ signingWorkers: 2 });

  const params = { walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
  const signed = await Promise.all(Array.from({ length: 40 }, () => alice.session.signTransaction(params)));
  expect(new Set(signed.map(({ signedTransaction }) => signedTransaction)).size).toBe(1);
  for (let each = 0; each < 4; each += 1) {
    const body = requestBody(simulator, { operation: "sign_transaction", appId, params, requestId: randomUUID() });
    expect((await send(simulator, body, alice.key)).code).toBeNull();
    expect((await send(simulator, body, alice.key)).code).toBe("REQUEST_REPLAYED");
  }
  await alice.session.revokeAllSessions();
  for (let each = 0; each < 4; each += 1) {
    const body = requestBody(simulator, { operation: "sign_transaction", appId, params, requestId: randomUUID() });
    expect((await send(simulator, body, alice.key)).code).toBe("SESSION_UNKNOWN");
  }
});
