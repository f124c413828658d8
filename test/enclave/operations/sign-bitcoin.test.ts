/** Bitcoin's operations from the client to the key and back, with the policy between. */
import { createHash } from "node:crypto";
import { Transaction } from "@scure/btc-signer/transaction.js";
import { Transaction as JudgeTransaction } from "bitcoinjs-lib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type Session } from "../../../client/index.ts";
import type { Wallet } from "../../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../../simulator/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";
import { AUDIENCE, createApp, logIn } from "../../support/app.ts";
import { foreignScript, payment, psbtOf } from "../../support/bitcoin.ts";

let simulator: Simulator;
let client: Client;
let session: Session;
let wallet: Wallet;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  const appId = await createApp(simulator, client, { policy: ALLOW_ALL });
  ({ session } = await logIn(simulator, client, appId, "alice"));
  wallet = await walletOf(session);
});
afterAll(() => simulator.stop());

function walletOf(of: Session): Promise<Wallet> {
  const formats = ["bitcoin-p2wpkh", "bitcoin-p2tr", "bitcoin-p2pkh", "bitcoin-p2sh-p2wpkh"] as const;
  return of.createWallet({ kind: "hd", accounts: formats.map((format) => ({ format })) });
}

/** Spends what was paid to the wallet's first account, which is P2WPKH, to a shop. */
function psbtFor({ accounts }: Wallet, amount = 9_000n): string {
  const hash = createHash("ripemd160")
    .update(createHash("sha256").update(Buffer.from(accounts[0].publicKey, "hex")).digest())
    .digest();
  const { bytes, txid } = payment(Buffer.concat([Uint8Array.of(0, 20), hash]), 10_000n, 0);
  const psbt = psbtOf([{ txid, index: 1, nonWitnessUtxo: bytes }], [{ script: foreignScript("shop"), amount }]);
  return Buffer.from(psbt).toString("base64");
}

const network = "bitcoin";

test("a PSBT is signed and finished, and the same again when asked again", async () => {
  const request = { walletId: wallet.walletId, network, psbt: psbtFor(wallet) } as const;
  const result = await session.signBitcoinTransaction(request);
  const transaction = JudgeTransaction.fromHex(result.finalTransaction?.slice(2) ?? "");
  expect(transaction.getId()).toBe(result.txid);
  expect(transaction.ins[0]?.witness[1]).toEqual(Uint8Array.from(Buffer.from(wallet.accounts[0].publicKey, "hex")));
  expect(Transaction.fromPSBT(Buffer.from(result.psbt, "base64")).getInput(0).partialSig).toHaveLength(1);
  expect(await session.signBitcoinTransaction(request)).toEqual(result);
});

test("a message is signed by each kind of account", async () => {
  const message = `0x${Buffer.from("Hello World").toString("hex")}`;
  for (const { address, format } of wallet.accounts) {
    const signed = await session.signBitcoinMessage({ walletId: wallet.walletId, account: address, message });
    expect(signed).toMatchObject({ address, format: format === "bitcoin-p2pkh" ? "full" : "simple" });
  }
  const none = session.signBitcoinMessage({ walletId: wallet.walletId, account: "m/0", message });
  await expect(none).rejects.toMatchObject({ code: "ACCOUNT_NOT_FOUND" });
});

describe("refused", () => {
  const ask = (psbt: string, more: object = {}) =>
    session.signBitcoinTransaction({ walletId: wallet.walletId, network, psbt, ...more });

  test.each([
    ["not base64", "####"],
    ["not its one base64", "AB=="],
    ["not padded", "AAA"],
  ])("INVALID_PARAMS: %s", async (_name, psbt) => {
    await expect(ask(psbt)).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });

  test("INVALID_PARAMS without a network: none is assumed", async () => {
    const params = { walletId: wallet.walletId, psbt: psbtFor(wallet) } as never;
    await expect(session.signBitcoinTransaction(params)).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });

  test("TRANSACTION_MALFORMED, NOTHING_TO_SIGN and CHAIN_MISMATCH reach the caller", async () => {
    await expect(ask("AAAA")).rejects.toMatchObject({ code: "TRANSACTION_MALFORMED", isFromEnclave: true });
    const other = await walletOf(session);
    await expect(ask(psbtFor(other))).rejects.toMatchObject({ code: "NOTHING_TO_SIGN", isFromEnclave: true });
    await session.createAccounts({
      walletId: wallet.walletId,
      accounts: [{ format: "bitcoin-testnet-p2wpkh", path: "m/84'/0'/0'/0/0" }],
    });
    await expect(ask(psbtFor(wallet), { network: "bitcoin-testnet" })).rejects.toMatchObject({
      code: "CHAIN_MISMATCH",
    });
  });

  test("allowed by what the facts say, to the satoshi", async () => {
    const rules = [{ id: "enough", effect: "allow", when: [{ field: "bitcoin.spent", atMost: "10000" }] }] as const;
    const generous = await createApp(simulator, client, { policy: { v: 1, rules: [...rules] } as never });
    const { session: carols } = await logIn(simulator, client, generous, "carol");
    const hers = await walletOf(carols);
    const { txid } = await carols.signBitcoinTransaction({ walletId: hers.walletId, network, psbt: psbtFor(hers) });
    expect(txid).toMatch(/^[0-9a-f]{64}$/);
  });

  test("POLICY_DENIED for one satoshi less than leaves the wallet", async () => {
    const rules = [{ id: "little", effect: "allow", when: [{ field: "bitcoin.spent", atMost: "9999" }] }] as const;
    const appId = await createApp(simulator, client, { policy: { v: 1, rules: [...rules] } as never });
    const { session: bobs } = await logIn(simulator, client, appId, "bob");
    const his = await walletOf(bobs);
    await expect(
      bobs.signBitcoinTransaction({ walletId: his.walletId, network, psbt: psbtFor(his) }),
    ).rejects.toMatchObject({ code: "POLICY_DENIED" });
    await expect(bobs.signBitcoinMessage({ walletId: his.walletId, message: "0x00" })).rejects.toMatchObject({
      code: "POLICY_DENIED",
    });
  });

  test("OUT_OF_SCOPE for a session of another chain", async () => {
    const appId = await createApp(simulator, client, { policy: ALLOW_ALL });
    const { session: bobs } = await logIn(simulator, client, appId, "bob");
    const his = await walletOf(bobs);
    const key = await generateStampKey();
    const jwt = await simulator.issuer.mint({ subject: "bob", audience: AUDIENCE, nonce: await loginNonce(key) });
    const scope = { operations: null, wallets: null, chains: ["eip155:1"] };
    const narrow = await client.login({ appId, jwt, key, scope });
    await expect(
      narrow.signBitcoinTransaction({ walletId: his.walletId, network, psbt: psbtFor(his) }),
    ).rejects.toMatchObject({ code: "OUT_OF_SCOPE" });
  });
});
