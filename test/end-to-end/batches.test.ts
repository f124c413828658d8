/** Batches: one stamp and one answer for many, each judged and refused by itself. */
import { randomUUID } from "node:crypto";
import { parseTransaction, recoverMessageAddress } from "viem";
import { beforeAll, describe, expect, test } from "vitest";
import type { Client, Session } from "../../client/index.ts";
import {
  MAX_BATCH_ACCOUNTS,
  MAX_BATCH_SIGNATURES,
  MAX_BATCH_WALLETS,
  type NewWallet,
  type UserEvent,
} from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { enrol } from "../support/account.ts";
import { createApp, logIn } from "../support/app.ts";
import { apiKeyOf, generateKeyOf } from "../support/app-requests.ts";
import { usdcTransfer } from "../support/transactions.ts";

const KEY = { kind: "single-key" } as const;
const MESSAGE = "0x68656c6c6f";

let simulator: Simulator;
let client: Client;
beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  return () => simulator.stop();
}, 60_000);

async function loggedIn(changes: Parameters<typeof createApp>[2] = {}): Promise<{ appId: string; session: Session }> {
  const appId = await createApp(simulator, client, changes);
  return { appId, session: (await logIn(simulator, client, appId, "alice")).session };
}

async function allWallets(session: Session): Promise<string[]> {
  const ids: string[] = [];
  for (let after: string | null = null; ; ) {
    const page: Awaited<ReturnType<Session["listWallets"]>> = await session.listWallets({ after });
    ids.push(...page.wallets.map(({ walletId }) => walletId));
    if (!page.more) return ids;
    after = ids.at(-1) ?? null;
  }
}

const madeIn = ({ results }: Awaited<ReturnType<Session["createWallets"]>>) =>
  results.map((each) => ("wallet" in each ? each.wallet : null));
const codesIn = (results: readonly object[]) =>
  results.map((each) => ("error" in each ? (each.error as { code: string }).code : null));

describe("create_wallets", () => {
  test("makes a thousand, each with its own key, in writes of sixty with an event each that names them", async () => {
    const { session } = await loggedIn();
    const made = madeIn(await session.createWallets({ wallets: Array(MAX_BATCH_WALLETS).fill(KEY) }));
    expect(new Set(made.map((wallet) => wallet?.accounts[0].address)).size).toBe(MAX_BATCH_WALLETS);
    expect((await allWallets(session)).sort()).toEqual(made.map((wallet) => wallet?.walletId).sort());
    const events = (await session.account.listEvents()).events.map(({ event }) => JSON.parse(event) as UserEvent);
    expect(events.map(({ kind }) => kind)).toEqual(Array(Math.ceil(MAX_BATCH_WALLETS / 62)).fill("wallets-created"));
    const named = events.flatMap(({ details }) => details["walletIds"]?.split(" ") ?? []);
    expect(named).toEqual(made.map((wallet) => wallet?.walletId));
    expect(events[0]?.details["count"]).toBe("62");
  }, 60_000);

  test("each as it was asked for: what one cannot be refuses that one alone", async () => {
    const { session } = await loggedIn();
    const wallets: NewWallet[] = [
      { kind: "hd", words: 24, accounts: [{ format: "ethereum" }, { format: "solana" }] },
      { ...KEY, accounts: [{ format: "ethereum", path: "m/0" }] },
      { ...KEY, curve: "ed25519" },
    ];
    const { results } = await session.createWallets({ wallets });
    expect(codesIn(results)).toEqual([null, "INVALID_PARAMS", null]);
    const formats = madeIn({ results }).map((wallet) => wallet?.accounts.map(({ format }) => format));
    expect(formats).toEqual([["ethereum", "solana"], undefined, ["solana"]]);
    expect((await allWallets(session)).length).toBe(2);
  });

  test("asked again after a boot, the same wallets with the accounts that were asked for; another list is another's", async () => {
    const { session, appId } = await loggedIn();
    const requestId = randomUUID();
    const wallets: NewWallet[] = [KEY, { kind: "hd" }, KEY];
    const first = await session.createWallets({ wallets }, { requestId });
    const [, hd] = madeIn(first);
    await session.createAccounts({ walletId: hd?.walletId ?? "", accounts: [{ format: "solana" }] });
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect();
    const again = (await logIn(simulator, client, appId, "alice")).session;
    expect(await again.createWallets({ wallets }, { requestId })).toEqual(first);
    expect((await allWallets(again)).length).toBe(3);
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect();
    const third = (await logIn(simulator, client, appId, "alice")).session;
    // One that is longer by one, and whose second is of another kind.
    const other = await third.createWallets({ wallets: [KEY, KEY, KEY, KEY] }, { requestId });
    expect(codesIn(other.results)).toEqual([null, "RECORD_CONFLICT", null, null]);
    expect((await allWallets(third)).length).toBe(4);
  }, 60_000);

  test("over its bounds it is refused whole", async () => {
    const { session } = await loggedIn();
    const accounts = Array.from({ length: 3 }, (_, index) => ({ format: "ethereum" as const, index }));
    for (const wallets of [
      [],
      Array(MAX_BATCH_WALLETS + 1).fill(KEY),
      Array(Math.ceil((MAX_BATCH_ACCOUNTS + 1) / 3)).fill({ kind: "hd", accounts }),
    ]) {
      await expect(session.createWallets({ wallets })).rejects.toMatchObject({ code: "INVALID_PARAMS" });
    }
    expect(await allWallets(session)).toEqual([]);
  });

  test("needs the right to create_wallet, and has no right of its own", async () => {
    const may = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const mayNot = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const keys = [apiKeyOf(may, ["create_wallet"]), apiKeyOf(mayNot, ["list_wallets"], { name: "other" })];
    const { appId } = await loggedIn({ apiKeys: keys });
    const ask = (key: typeof may) => client.call("create_wallets", { wallets: [KEY] }, { appId, keys: [key] });
    expect(codesIn((await ask(may)).results)).toEqual([null]);
    await expect(ask(mayNot)).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
  });

  test("what guards create_wallet by a one-time password guards it", async () => {
    const { session } = await loggedIn({ totp: { requiredFor: ["create_wallet"] } });
    const attempt = session.createWallets({ wallets: [KEY] });
    await expect(attempt).rejects.toMatchObject({ code: "SECOND_FACTOR_NOT_ENROLLED" });
  });
});

describe("sign_batch", () => {
  const sign = (walletId: string, nonce: number) =>
    ({
      operation: "sign_transaction",
      params: { walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) },
    }) as const;
  const say = (walletId: string) => ({ operation: "sign_message", params: { walletId, message: MESSAGE } }) as const;

  test("signs what may be signed, each by its wallet, and refuses the rest one by one", async () => {
    const { session } = await loggedIn();
    const [one, other] = madeIn(await session.createWallets({ wallets: [KEY, KEY] }));
    const walletId = one?.walletId ?? "";
    const nobody = `wal_${"00".repeat(16)}`;
    const forPolygon = { walletId, chainId: "137", unsignedTransaction: usdcTransfer({ chainId: 137 }) };
    const outcomes = await session.signBatch([
      sign(walletId, 1),
      say(other?.walletId ?? ""),
      { operation: "sign_transaction", params: forPolygon },
      say(nobody),
      { operation: "sign_message", params: { walletId, message: MESSAGE, more: 1 } as never },
      say(walletId),
    ]);
    expect(codesIn(outcomes)).toEqual([null, null, "POLICY_DENIED", "WALLET_NOT_FOUND", "INVALID_PARAMS", null]);
    const [transaction, message, denied, , , own] = outcomes;
    if (!("result" in transaction) || !("result" in message) || !("result" in own)) throw new Error("refused");
    expect(parseTransaction(transaction.result.signedTransaction as `0x${string}`).nonce).toBe(1);
    const signers = [message, own].map(({ result }) =>
      recoverMessageAddress({ message: { raw: MESSAGE }, signature: result.signature as `0x${string}` }),
    );
    expect(await Promise.all(signers)).toEqual([other?.accounts[0].address, one?.accounts[0].address]);
    expect(denied).toMatchObject({ error: { details: { reason: "NOT_ALLOWED" } } });
    // The same as by itself.
    expect(await session.signMessage({ walletId, message: MESSAGE })).toEqual(own.result);
  });

  test("each takes its own part of a limit, in order, and a batch that is asked again takes nothing more", async () => {
    const limits = [{ asset: "requests", amount: "3", windowS: 86_400, per: "app" }] as const;
    const policy = { v: 1 as const, rules: [{ id: "some", effect: "allow" as const, when: [], limits }] };
    const { session, appId } = await loggedIn({ policy });
    const { walletId } = await session.createWallet(KEY);
    const requestId = randomUUID();
    const two = [sign(walletId, 1), sign(walletId, 2)];
    const first = await session.signBatch(two, { requestId });
    expect(codesIn(first)).toEqual([null, null]);
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect();
    const again = (await logIn(simulator, client, appId, "alice")).session;
    expect(await again.signBatch(two, { requestId })).toEqual(first);
    const more = await again.signBatch([sign(walletId, 3), sign(walletId, 4)]);
    expect(codesIn(more)).toEqual([null, "POLICY_DENIED"]);
    expect(more[1]).toMatchObject({ error: { details: { reason: "OVER_LIMIT" } } });
  }, 60_000);

  test("a scope is judged for each: operation, wallet and chain", async () => {
    const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const maker = generateKeyOf("SIGNATURE_SCHEME_TK_API_ED25519");
    const making = apiKeyOf(maker, ["create_wallet"], { name: "maker" });
    const { appId } = await loggedIn({ apiKeys: [making] });
    const made = await client.call("create_wallets", { wallets: [KEY, KEY] }, { appId, keys: [maker] });
    const [mine = "", other = ""] = madeIn(made).map((wallet) => wallet?.walletId);
    const { app, version } = await client.getApp([simulator.administratorKey], appId);
    const permissions = { operations: ["sign_transaction" as const], wallets: [mine], chains: ["eip155:1"] };
    const apiKeys = [making, apiKeyOf(key, ["sign_transaction"], { permissions })];
    await client.updateApp([simulator.administratorKey], { appId, expectedVersion: version, app: { ...app, apiKeys } });
    const forPolygon = { walletId: mine, chainId: "137", unsignedTransaction: usdcTransfer({ chainId: 137 }) };
    const requests = [
      sign(mine, 1),
      sign(other, 1),
      say(mine),
      { operation: "sign_transaction" as const, params: forPolygon },
    ];
    const { results } = await client.call("sign_batch", { requests }, { appId, keys: [key] });
    expect(codesIn(results)).toEqual([null, "OUT_OF_SCOPE", "OUT_OF_SCOPE", "OUT_OF_SCOPE"]);
  });

  test("what guards one of its operations by a one-time password guards the batch; others pass", async () => {
    const { session } = await loggedIn({ totp: { requiredFor: ["sign_message"] } });
    const { walletId } = await session.createWallet(KEY);
    expect(codesIn(await session.signBatch([sign(walletId, 1)]))).toEqual([null]);
    const attempt = () => session.signBatch([sign(walletId, 1), say(walletId)]);
    await expect(attempt()).rejects.toMatchObject({ code: "SECOND_FACTOR_NOT_ENROLLED" });
    const { app: authenticator } = await enrol(session.account, () => simulator.nowMs());
    await expect(attempt()).rejects.toMatchObject({ code: "SECOND_FACTOR_REQUIRED" });
    const twice = [say(walletId), say(walletId)];
    // One code does for the request, however often what it guards stands in it.
    expect(codesIn(await session.signBatch(twice, { secondFactor: authenticator.code() }))).toEqual([null, null]);
  });

  test("no more than its bound, nothing but what signs, and no approval with it", async () => {
    const { session } = await loggedIn();
    const { walletId } = await session.createWallet(KEY);
    const bad = [[], Array(MAX_BATCH_SIGNATURES + 1).fill(say(walletId)), [{ operation: "delete_wallet", params: {} }]];
    for (const requests of bad) {
      await expect(session.signBatch(requests as never)).rejects.toMatchObject({ code: "INVALID_PARAMS" });
    }
    const attempt = session.signBatch([say(walletId)], { approvalId: `apr_${"00".repeat(16)}` });
    await expect(attempt).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });
});
