/** Answers near the size of a frame: they arrive, and never end the stream that everybody shares. */
import { beforeAll, expect, test } from "vitest";
import type { Client, Session } from "../../client/index.ts";
import {
  encodeHex,
  type JsonValue,
  MAX_BATCH_ACCOUNTS,
  MAX_BATCH_SIGNATURES,
  MAX_BATCH_WALLETS,
  type Params,
} from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp, logIn } from "../support/app.ts";

let simulator: Simulator;
let client: Client;
let appId: string;
beforeAll(async () => {
  simulator = await startSimulator();
  // No second tries: what one caller's answer does to others is to be seen.
  client = await simulator.connect({ attempts: 1 });
  appId = await createApp(simulator, client, { policy: ALLOW_ALL });
  return () => simulator.stop();
}, 60_000);

const logInAs = async (subject: string) => (await logIn(simulator, client, appId, subject)).session;

/** Asks again and again, and gives the codes of what was not answered. */
async function askingMeanwhile(session: Session, work: Promise<unknown>): Promise<string[]> {
  const failures: string[] = [];
  let isOver = false;
  const asking = Array.from({ length: 4 }, async () => {
    while (!isOver) await session.listWallets().catch((error: { code: string }) => failures.push(error.code));
  });
  await work.finally(() => {
    isOver = true;
  });
  await Promise.all(asking);
  return failures;
}

test("as many accounts as a batch may make, sealed", async () => {
  const [alice, bob] = [await logInAs("alice"), await logInAs("bob")];
  const accounts = Array(MAX_BATCH_ACCOUNTS / MAX_BATCH_WALLETS).fill({ format: "bitcoin-p2tr" });
  const wallet: Params<"create_wallet"> = { kind: "hd", accounts: accounts.map((each, index) => ({ ...each, index })) };
  const made = alice.call("create_wallets", { wallets: Array(MAX_BATCH_WALLETS).fill(wallet) }, { seal: "always" });
  expect(await askingMeanwhile(bob, made)).toEqual([]);
  const { results } = await made;
  expect(results.filter((each) => "wallet" in each)).toHaveLength(MAX_BATCH_WALLETS);
}, 120_000);

test("a batch of refusals, each with as much to say as a policy can find", async () => {
  const [mallory, bob] = [await logInAs("mallory"), await logInAs("bob")];
  const { walletId } = await mallory.createWallet({ kind: "single-key" });
  const text = "\u0001".repeat(200);
  const when = Array(16).fill({ field: "message.text", in: [text] });
  await mallory.setPolicy({
    ...{ of: "user", expectedVersion: 0, policy: { v: 1, rules: [{ id: "wordy", effect: "deny", when }] } },
  });
  const params = { walletId, message: `0x${encodeHex(Buffer.from(text))}` };
  const requests = Array(MAX_BATCH_SIGNATURES).fill({ operation: "sign_message", params });
  const asked = mallory.call("sign_batch", { requests });
  expect(await askingMeanwhile(bob, asked)).toEqual([]);
  const { results } = await asked;
  const errors = results.map((each) => ("error" in each ? each.error : null));
  expect(errors.map((error) => error?.code)).toEqual(Array(MAX_BATCH_SIGNATURES).fill("POLICY_DENIED"));
  // The first say why, until there is no more room.
  const found = errors.map((error) => (error?.details as { findings: JsonValue[] } | undefined)?.findings.length);
  expect(found[0]).toBe(16);
  const shown = found.indexOf(undefined);
  expect(found).toEqual(Array.from(found, (_, at) => (at < shown ? 16 : undefined)));
  expect(shown).toBeGreaterThan(1);
}, 60_000);
