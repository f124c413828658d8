/** What stands between a session and a signature for Solana, beyond what the parsers refuse in their own tests. */
import { createPublicKey, verify } from "node:crypto";
import {
  AccountRole,
  type Address,
  address,
  assertIsFullySignedTransaction,
  createNoopSigner,
  getTransactionDecoder,
} from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, Session } from "../../../client/index.ts";
import { parseTransaction, signTransaction } from "../../../enclave/signing/solana/transaction.ts";
import { decodeHex, encodeHex, type Wallet } from "../../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../../simulator/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";
import { createApp, logIn } from "../../support/app.ts";
import { keyOf, makeTransaction, named } from "../../support/solana.ts";

const SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

let simulator: Simulator;
let client: Client;
let session: Session;
let wallet: Wallet;
let own: Address;
let second: Address;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  const appId = await createApp(simulator, client, { policy: ALLOW_ALL });
  ({ session } = await logIn(simulator, client, appId, "alice"));
  const accounts = [{ format: "ethereum" }, { format: "solana" }, { format: "solana", index: 1 }] as const;
  wallet = await session.createWallet({ kind: "hd", accounts: [...accounts] });
  own = address(wallet.accounts[1]?.address ?? "");
  second = address(wallet.accounts[2]?.address ?? "");
});
afterAll(() => simulator.stop());

const hex = (bytes: Uint8Array): string => `0x${encodeHex(bytes)}`;
const bytesOf = (text: string): Uint8Array => decodeHex(text.slice(2));

function transfer(source: Address = own, feePayer: Address = source): Uint8Array {
  const instruction = getTransferSolInstruction({
    ...{ source: createNoopSigner(source), destination: named("bob"), amount: 5n },
  });
  return makeTransaction([instruction], { feePayer }).wire;
}

function isSigned(message: Uint8Array, signature: string, by: number): boolean {
  const publicKey = decodeHex(wallet.accounts[by]?.publicKey ?? "");
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
  return verify(null, message, createPublicKey({ key: der, format: "der", type: "spki" }), bytesOf(signature));
}

describe("a transaction", () => {
  const sign = (transaction: Uint8Array, account?: string) =>
    session.signSolanaTransaction({
      ...{ walletId: wallet.walletId, transaction: hex(transaction) },
      ...(account === undefined ? {} : { account }),
    });

  test("is signed by the first Solana account, and whole as Kit sees it", async () => {
    const { signature, signedTransaction, isComplete } = await sign(transfer());
    const judged = getTransactionDecoder().decode(bytesOf(signedTransaction));
    expect(() => assertIsFullySignedTransaction(judged)).not.toThrow();
    expect(isSigned(Uint8Array.from(judged.messageBytes), signature, 1)).toBe(true);
    expect(isComplete).toBe(true);
  });

  test("is signed by the account that is named, by its address or its path", async () => {
    const path = wallet.accounts[2]?.path ?? "";
    const answers = [await sign(transfer(second), second), await sign(transfer(second), path)];
    expect(answers[0]).toEqual(answers[1]);
    const { message } = makeTransaction([], { feePayer: second });
    expect(isSigned(message, answers[0]?.signature ?? "", 2)).toBe(false);
    const judged = getTransactionDecoder().decode(bytesOf(answers[0]?.signedTransaction ?? ""));
    expect(isSigned(Uint8Array.from(judged.messageBytes), answers[0]?.signature ?? "", 2)).toBe(true);
  });

  test("that another signs too keeps the other's signature, and says what is missing", async () => {
    const bob = keyOf("bob");
    const accounts = [{ address: bob.address, role: AccountRole.READONLY_SIGNER }] as const;
    const { wire } = makeTransaction([{ programAddress: named("program"), accounts }], { feePayer: own });
    const first = await sign(wire);
    expect(first.isComplete).toBe(false);
    const byBob = signTransaction(parseTransaction(wire), bob).bytes;
    const last = await sign(byBob);
    expect(last).toMatchObject({ isComplete: true, signature: first.signature });
    const judged = getTransactionDecoder().decode(bytesOf(last.signedTransaction));
    expect(() => assertIsFullySignedTransaction(judged)).not.toThrow();
    const forged = byBob.with(70, (byBob[70] ?? 0) ^ 1);
    await expect(sign(forged)).rejects.toMatchObject({ code: "TRANSACTION_SIGNATURE_INVALID", isFromEnclave: true });
  });

  test("is refused by its code: no signer, malformed, of another version, no account", async () => {
    await expect(sign(transfer(second))).rejects.toMatchObject({ code: "NOT_A_SIGNER", isFromEnclave: true });
    await expect(sign(new Uint8Array())).rejects.toMatchObject({ code: "TRANSACTION_MALFORMED" });
    const version1 = transfer().with(65, 0x81);
    await expect(sign(version1)).rejects.toMatchObject({ code: "TRANSACTION_TYPE_UNSUPPORTED" });
    // The first account is Ethereum's.
    const ethereum = wallet.accounts[0].address;
    await expect(sign(transfer(), ethereum)).rejects.toMatchObject({ code: "ACCOUNT_NOT_FOUND" });
    await expect(sign(new Uint8Array(1233))).rejects.toMatchObject({ code: "INVALID_PARAMS" });
  });
});

describe("a message", () => {
  const sign = (message: Uint8Array, account?: string) =>
    session.signSolanaMessage({
      ...{ walletId: wallet.walletId, message: hex(message) },
      ...(account === undefined ? {} : { account }),
    });
  const text = Buffer.from("example.com wants you to sign in with your Solana account");
  const offChain = (signer: Uint8Array) =>
    Buffer.concat([
      Buffer.from("\xffsolana offchain\0", "latin1"),
      ...[new Uint8Array(32).fill(4), Uint8Array.of(0, 1), signer, Uint8Array.of(text.length, 0), text],
    ]);

  test("is signed as it is, text or off-chain", async () => {
    expect(isSigned(text, (await sign(text)).signature, 1)).toBe(true);
    const message = offChain(decodeHex(wallet.accounts[2]?.publicKey ?? ""));
    expect(isSigned(message, (await sign(message, second)).signature, 2)).toBe(true);
    await expect(sign(message)).rejects.toMatchObject({ code: "NOT_A_SIGNER" });
  });

  test("that is a transaction is refused, in whatever form it comes", async () => {
    const instruction = getTransferSolInstruction({
      ...{ source: createNoopSigner(own), destination: named("bob"), amount: 5n },
    });
    for (const version of ["legacy", 0] as const) {
      const { message, wire } = makeTransaction([instruction], { feePayer: own, version });
      for (const bytes of [message, wire]) {
        await expect(sign(bytes)).rejects.toMatchObject({ code: "MESSAGE_MALFORMED", isFromEnclave: true });
      }
    }
  });
});

test("POLICY_DENIED where no policy says anything", async () => {
  const appId = await createApp(simulator, client, { policy: null });
  const { session: other } = await logIn(simulator, client, appId, "alice");
  const { walletId, accounts } = await other.createWallet({ kind: "single-key", curve: "ed25519" });
  const denied = { code: "POLICY_DENIED", isFromEnclave: true };
  const transaction = hex(transfer(address(accounts[0].address)));
  await expect(other.signSolanaTransaction({ walletId, transaction })).rejects.toMatchObject(denied);
  await expect(other.signSolanaMessage({ walletId, message: "0x61" })).rejects.toMatchObject(denied);
});

test("OUT_OF_SCOPE for a session that is for other chains, and for messages wherever chains are listed", async () => {
  const appId = await createApp(simulator, client, { policy: ALLOW_ALL });
  const { session: whole } = await logIn(simulator, client, appId, "alice");
  const { walletId, accounts } = await whole.createWallet({ kind: "single-key", curve: "ed25519" });
  const transaction = hex(transfer(address(accounts[0].address)));
  const limitedTo = async (chains: string[]) => {
    const scope = { operations: null, wallets: null, chains };
    const token = (nonce: string) => simulator.issuer.mint({ subject: "alice", audience: "test", nonce });
    return await Session.login(client, { appId, token, scope });
  };
  const [solana, ethereum] = [await limitedTo([SOLANA]), await limitedTo(["eip155:1"])];
  await expect(solana.signSolanaTransaction({ walletId, transaction })).resolves.toMatchObject({ isComplete: true });
  const outside = { code: "OUT_OF_SCOPE", isFromEnclave: true };
  await expect(ethereum.signSolanaTransaction({ walletId, transaction })).rejects.toMatchObject(outside);
  await expect(solana.signSolanaMessage({ walletId, message: "0x61" })).rejects.toMatchObject(outside);
  const digest = { walletId, account: accounts[0].address, scheme: "eddsa", digest: "0x61" } as const;
  await expect(solana.signDigest(digest)).rejects.toMatchObject(outside);
});
