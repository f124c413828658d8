/** A noisy app, strangers and a parent's limits around one enclave: what they keep from others is counted, never timed. */
import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { type Client, generateStampKey, type Session } from "../../client/index.ts";
import { audienceOf, encodeRequest, encodeStamp } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";

const KEY = { kind: "single-key" } as const;

let simulator: Simulator;
let client: Client;
beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect({ attempts: 1 });
  return () => simulator.stop();
}, 60_000);

async function sessionIn(name: string): Promise<{ readonly appId: string; readonly session: Session }> {
  const appId = await createApp(simulator, client, { name });
  const { session } = await logIn(simulator, client, appId, "alice");
  await session.createWallet(KEY);
  return { appId, session };
}

/** As many as `width` at a time, until it is told to stop. */
function flood(width: number, ask: () => Promise<unknown>) {
  const outcomes = new Map<string, number>();
  let stopped = false;
  const lanes = Array.from({ length: width }, async () => {
    while (!stopped) {
      const outcome = await ask().then(
        () => "done",
        (error: { code?: string }) => error.code ?? String(error),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  const stop = async () => {
    stopped = true;
    await Promise.all(lanes);
    return outcomes;
  };
  return { outcomes, stop };
}

test("beside an app at full blast, in small requests and in batches, a quiet one and administrators are never refused", {
  timeout: 120_000,
}, async () => {
  const [noisy, quiet] = [await sessionIn("noisy"), await sessionIn("quiet")];
  const small = flood(200, () => noisy.session.listWallets());
  const batches = flood(20, () => noisy.session.createWallets({ wallets: Array(50).fill(KEY) }));
  for (let n = 0; n < 15; n += 1) {
    const before = [...small.outcomes.values()].reduce((sum, count) => sum + count, 0);
    await quiet.session.listWallets();
    const between = [...small.outcomes.values()].reduce((sum, count) => sum + count, 0) - before;
    // All that was under way when it came, and a round of what waited: with 220 asked for at once it could be all of them.
    expect(between).toBeLessThanOrEqual(200);
    if (n % 5 === 0) await client.listApps([simulator.administratorKey]);
  }
  const outcomes = await small.stop();
  await batches.stop();
  expect(outcomes.get("done")).toBeGreaterThan(0);
});

test("strangers' garbage in its name, more than there is room for, refuses it nothing", {
  timeout: 120_000,
}, async () => {
  const quiet = await sessionIn("named");
  const audience = audienceOf(client.deployment, quiet.appId);
  const garbage = async () => {
    const key = await generateStampKey();
    const params = { after: null };
    const body = encodeRequest({
      ...{ operation: "list_wallets", audience, requestId: randomUUID(), issuedAtMs: client.nowMs(), params },
    });
    const stamp = encodeStamp({ scheme: key.scheme, publicKey: key.publicKey, signature: new Uint8Array(70).fill(1) });
    return await client.sendStamped(body, [stamp]);
  };
  const strangers = flood(300, garbage);
  for (let n = 0; n < 20; n += 1) await quiet.session.listWallets();
  const outcomes = await strangers.stop();
  // Most were refused for what they are; where more came than there was room for, for that.
  expect(outcomes.get("STAMP_INVALID")).toBeGreaterThan(0);
  expect([...outcomes.keys()].filter((code) => code !== "STAMP_INVALID" && code !== "BUSY")).toEqual([]);
});

test("readyz tells what is under way", async () => {
  const response = await fetch(`${simulator.url}/readyz`);
  expect(await response.json()).toMatchObject({ load: { waiting: 0, running: 0 } });
});
