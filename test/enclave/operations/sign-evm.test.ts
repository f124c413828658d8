/** What stands between a session and a signature, beyond what the parser and the policy refuse in their own tests. */
import { type Hex, hexToBytes, recoverMessageAddress, recoverTransactionAddress, serializeTransaction } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client, Session } from "../../../client/index.ts";
import type { Wallet } from "../../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../../simulator/index.ts";
import { createApp, logIn } from "../../support/app.ts";
import { usdcTransfer } from "../../support/transactions.ts";

let simulator: Simulator;
let client: Client;
let session: Session;
let wallet: Wallet;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  const appId = await createApp(simulator, client, { signingPolicy: { evmChainIds: ["1", "137"], messages: "deny" } });
  ({ session } = await logIn(simulator, client, appId, "alice"));
  wallet = await session.createWallet({ kind: "single-key" });
});
afterAll(() => simulator.stop());

function sign(chainId: string, unsignedTransaction: string, walletId = wallet.walletId) {
  return session.signTransaction({ walletId, chainId, unsignedTransaction });
}

test.each([1, 137])("a transaction for chain %d, asked for as such, is signed", async (chainId) => {
  const { signedTransaction } = await sign(String(chainId), usdcTransfer({ chainId }));
  const signer = await recoverTransactionAddress({ serializedTransaction: signedTransaction as `0x02${string}` });
  expect(signer).toBe(wallet.accounts[0].address);
});

describe("CHAIN_MISMATCH", () => {
  // Both chains are allowed: what is refused is that the words and the bytes differ.
  test.each([
    ["137", 1],
    ["1", 137],
    ["0", 1],
    ["115792089237316195423570985008687907853269984665640564039457584007913129639935", 1],
  ])("for chain %s asked, chain %d in the bytes", async (asked, chainId) => {
    await expect(sign(asked, usdcTransfer({ chainId }))).rejects.toMatchObject({
      code: "CHAIN_MISMATCH",
      isFromEnclave: true,
    });
  });
});

test("what cannot be parsed is refused before anything else is asked of it", async () => {
  const signed: Hex = `${usdcTransfer()}00`;
  await expect(sign("1", signed)).rejects.toMatchObject({ code: "TRANSACTION_MALFORMED" });
  await expect(sign("1", "0x")).rejects.toMatchObject({ code: "TRANSACTION_MALFORMED" });
  const legacy = serializeTransaction({ type: "legacy", chainId: 1, gasPrice: 1n });
  await expect(sign("1", legacy)).rejects.toMatchObject({ code: "TRANSACTION_TYPE_UNSUPPORTED" });
});

test("POLICY_DENIED for a chain that the app does not name, and for a message where none are allowed", async () => {
  await expect(sign("10", usdcTransfer({ chainId: 10 }))).rejects.toMatchObject({ code: "POLICY_DENIED" });
  const { walletId } = wallet;
  await expect(session.signMessage({ walletId, message: "0x61" })).rejects.toMatchObject({ code: "POLICY_DENIED" });
});

test("WALLET_NOT_FOUND for a wallet that nobody made", async () => {
  const nobodys = `wal_${"0".repeat(32)}`;
  await expect(sign("1", usdcTransfer(), nobodys)).rejects.toMatchObject({ code: "WALLET_NOT_FOUND" });
});

test("a message of the greatest length is signed, and one byte more is no message", async () => {
  const appId = await createApp(simulator, client, { signingPolicy: { evmChainIds: [], messages: "allow" } });
  const { session: talker } = await logIn(simulator, client, appId, "alice");
  const { walletId, accounts } = await talker.createWallet({ kind: "hd" });
  const message: Hex = `0x${"61".repeat(64 * 1024)}`;
  const { signature } = await talker.signMessage({ walletId, message });
  expect(await recoverMessageAddress({ message: { raw: hexToBytes(message) }, signature: signature as Hex })).toBe(
    accounts[0].address,
  );
  await expect(talker.signMessage({ walletId, message: `${message}61` })).rejects.toMatchObject({
    code: "INVALID_PARAMS",
  });
});
