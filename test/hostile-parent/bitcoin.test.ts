/** A parent that wants bitcoins: it changes what is asked, and what is answered. */
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Client, generateStampKey } from "../../client/index.ts";
import { REQUEST_PORT, type Wallet } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { foreignScript, payment, psbtOf } from "../support/bitcoin.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { post, requestBody, send, stampOf } from "../support/raw-request.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;
let wallet: Wallet;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect({ attempts: 1 });
  appId = await createApp(simulator, client, { policy: ALLOW_ALL });
  alice = await logIn(simulator, client, appId, "alice");
  wallet = await alice.session.createWallet({ kind: "hd", accounts: [{ format: "bitcoin-p2wpkh" }] });
});
afterAll(() => simulator.stop());
afterEach(() => {
  delete hostile.hooks.message;
});

function psbtTo(name: string): string {
  const hash = createHash("ripemd160")
    .update(createHash("sha256").update(Buffer.from(wallet.accounts[0].publicKey, "hex")).digest())
    .digest();
  const { bytes, txid } = payment(Buffer.concat([Uint8Array.of(0, 20), hash]), 10_000n, 0);
  const psbt = psbtOf([{ txid, index: 1, nonWitnessUtxo: bytes }], [{ script: foreignScript(name), amount: 9_000n }]);
  return Buffer.from(psbt).toString("base64");
}

const ask = (psbt: string) => ({ walletId: wallet.walletId, network: "bitcoin", psbt }) as const;

test("a PSBT that pays the parent in place of the shop is not signed", async () => {
  const [asked, wanted] = [psbtTo("shop"), psbtTo("parent")];
  let changed = 0;
  hostile.hooks.message = (port, direction, message) => {
    if (port !== REQUEST_PORT || direction !== "to-enclave" || !("body" in message)) return message;
    const text = Buffer.from(message.body).toString();
    if (text.includes(asked)) changed += 1;
    return { ...message, body: Buffer.from(text.replace(asked, wanted)) };
  };
  const body = requestBody(simulator, { operation: "sign_bitcoin_transaction", appId, params: ask(asked) });
  expect(await send(simulator, body, alice.key)).toMatchObject({ status: 401, code: "STAMP_INVALID" });
  // Whoever asks by the client library does not even take that for an answer to what was asked.
  await expect(alice.session.signBitcoinTransaction(ask(asked))).rejects.toMatchObject({
    code: "ANSWER_SIGNATURE_INVALID",
  });
  expect(changed).toBeGreaterThanOrEqual(2);
});

test("nor one that it asks for by itself, with a key of its own or under an old stamp", async () => {
  const mine = await generateStampKey();
  const body = requestBody(simulator, { operation: "sign_bitcoin_transaction", appId, params: ask(psbtTo("parent")) });
  expect(await post(simulator, body, [await stampOf(mine, body)])).toMatchObject({ code: "SESSION_UNKNOWN" });
  const old = requestBody(simulator, { operation: "sign_bitcoin_transaction", appId, params: ask(psbtTo("shop")) });
  const stamp = await stampOf(alice.key, old);
  expect(await post(simulator, old, [stamp])).toMatchObject({ status: 200 });
  expect(await post(simulator, body, [stamp])).toMatchObject({ code: "STAMP_INVALID" });
});

test("a signed transaction of another's in the place of the answer is not taken", async () => {
  let changed = 0;
  const other = await alice.session.signBitcoinTransaction(ask(psbtTo("parent")));
  hostile.hooks.message = (port, direction, message) => {
    if (port !== REQUEST_PORT || direction !== "to-parent" || !("body" in message)) return message;
    const text = Buffer.from(message.body).toString();
    if (!text.includes('"finalTransaction"')) return message;
    changed += 1;
    return { ...message, body: Buffer.from(JSON.stringify({ ...JSON.parse(text), result: other })) };
  };
  await expect(alice.session.signBitcoinTransaction(ask(psbtTo("shop")))).rejects.toMatchObject({
    code: "ANSWER_SIGNATURE_INVALID",
  });
  expect(changed).toBeGreaterThan(0);
});
