/** What stands between a session and a signature, beyond what the parser and the policy refuse in their own tests. */
import {
  type Hex,
  hashTypedData,
  hexToBytes,
  keccak256,
  parseTransaction,
  recoverAddress,
  recoverMessageAddress,
  recoverTransactionAddress,
  recoverTypedDataAddress,
  serializeTransaction,
  type TransactionSerializable,
  type TransactionSerialized,
} from "viem";
import { entryPoint06Address, entryPoint08Address, getUserOperationHash } from "viem/account-abstraction";
import { recoverAuthorizationAddress } from "viem/utils";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, type Session } from "../../../client/index.ts";
import type { Wallet } from "../../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../../simulator/index.ts";
import { ALLOW_ALL } from "../../support/allow-all.ts";
import { AUDIENCE, appParams, createApp, logIn } from "../../support/app.ts";
import { usdcTransfer } from "../../support/transactions.ts";

const PERMIT = [
  { name: "spender", type: "address" },
  { name: "value", type: "uint256" },
] as const;
const RECIPIENT = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045";

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
  await expect(sign("1", "0x05c0")).rejects.toMatchObject({ code: "TRANSACTION_TYPE_UNSUPPORTED" });
});

test("a transaction without a chain id is no transaction here", async () => {
  const unprotected = serializeTransaction({ type: "legacy", nonce: 0, to: RECIPIENT, gas: 21_000n, gasPrice: 1n });
  await expect(sign("1", unprotected)).rejects.toMatchObject({
    code: "TRANSACTION_MALFORMED",
    message: expect.stringContaining("chain id"),
  });
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

describe("where the app's policy allows everything", () => {
  let free: Session;
  let own: Wallet;
  let address: Hex;
  let appId: string;

  beforeAll(async () => {
    const { signingPolicy: _short, ...app } = appParams(simulator);
    ({ appId } = await client.createApp([simulator.administratorKey], { ...app, policy: ALLOW_ALL }));
    ({ session: free } = await logIn(simulator, client, appId, "alice"));
    own = await free.createWallet({ kind: "single-key" });
    address = own.accounts[0].address as Hex;
  });

  const fees = { maxFeePerGas: 30n, maxPriorityFeePerGas: 2n };
  const shared = { chainId: 1, nonce: 3, to: RECIPIENT, gas: 65_000n, value: 5n, data: "0x1234" } as const;
  const blobs = { blobVersionedHashes: [`0x01${"ab".repeat(31)}`], maxFeePerBlobGas: 9n } as const;

  test.each<[string, TransactionSerializable]>([
    ["legacy", { ...shared, type: "legacy", gasPrice: 30n }],
    ["EIP-2930", { ...shared, type: "eip2930", gasPrice: 30n, accessList: [{ address: RECIPIENT, storageKeys: [] }] }],
    ["EIP-1559", { ...shared, ...fees, type: "eip1559" }],
    ["EIP-4844", { ...shared, ...fees, ...blobs, type: "eip4844" }],
  ])("a transaction of type %s is signed", async (_name, transaction) => {
    const unsignedTransaction = serializeTransaction(transaction);
    const answer = await free.signTransaction({ walletId: own.walletId, chainId: "1", unsignedTransaction });
    const serializedTransaction = answer.signedTransaction as TransactionSerialized;
    expect(await recoverTransactionAddress({ serializedTransaction })).toBe(address);
    expect(answer.transactionHash).toBe(keccak256(serializedTransaction));
    expect(parseTransaction(serializedTransaction)).toMatchObject(parseTransaction(unsignedTransaction));
  });

  test("an authorization is signed, and then the transaction of type 4 that holds it", async () => {
    const delegate = `0x${"63".repeat(20)}` as const;
    const { walletId } = own;
    const { yParity, r, s, signedAuthorization } = await free.signAuthorization({
      ...{ walletId, chainId: "1", delegate, nonce: "4" },
    });
    const authorization = { chainId: 1, address: delegate, nonce: 4, r: r as Hex, s: s as Hex, yParity };
    expect(await recoverAuthorizationAddress({ authorization })).toBe(address);
    const unsignedTransaction = serializeTransaction({
      ...{ ...shared, ...fees, type: "eip7702", authorizationList: [authorization] },
    });
    expect(unsignedTransaction).toContain(signedAuthorization.slice(2));
    const { signedTransaction } = await free.signTransaction({ walletId, chainId: "1", unsignedTransaction });
    const serializedTransaction = signedTransaction as TransactionSerialized;
    expect(await recoverTransactionAddress({ serializedTransaction })).toBe(address);
  });

  const domain = { name: "Permit", version: "1", chainId: 1, verifyingContract: RECIPIENT } as const;
  const types = {
    EIP712Domain: [
      { name: "name", type: "string" },
      { name: "version", type: "string" },
      { name: "chainId", type: "uint256" },
      { name: "verifyingContract", type: "address" },
    ],
    Permit: [...PERMIT],
  };
  const value = 2n ** 255n;
  const typedData = { types, domain, primaryType: "Permit", message: { spender: RECIPIENT, value: value.toString() } };

  test("typed data is signed", async () => {
    const { signature } = await free.signTypedData({ walletId: own.walletId, typedData });
    // As viem's own users have it: the domain's type is left to viem, integers are bigints.
    const judged = {
      ...({ domain, primaryType: "Permit", message: { spender: RECIPIENT, value } } as const),
      types: { Permit: PERMIT },
    };
    expect(await recoverTypedDataAddress({ ...judged, signature: signature as Hex })).toBe(address);
    expect(await recoverAddress({ hash: hashTypedData(judged), signature: signature as Hex })).toBe(address);
  });

  test("typed data with a field too many is refused, and so is what is no object", async () => {
    const { walletId } = own;
    const more = { ...typedData, message: { ...typedData.message, deadline: 1 } };
    await expect(free.signTypedData({ walletId, typedData: more })).rejects.toMatchObject({
      ...{ code: "TYPED_DATA_MALFORMED", isFromEnclave: true },
    });
    await expect(free.signTypedData({ walletId, typedData: [] as never })).rejects.toMatchObject({
      code: "INVALID_PARAMS",
    });
  });

  const gas = { callGasLimit: "100", verificationGasLimit: "10", preVerificationGas: "1" };
  const operation = {
    ...{ sender: RECIPIENT, nonce: "1", callData: "0x1234" as Hex, factory: null, paymaster: null, ...gas },
    ...{ maxFeePerGas: "7", maxPriorityFeePerGas: "2" },
  };
  const forViem = {
    ...({ sender: RECIPIENT, nonce: 1n, callData: "0x1234", callGasLimit: 100n, verificationGasLimit: 10n } as const),
    ...({ preVerificationGas: 1n, maxFeePerGas: 7n, maxPriorityFeePerGas: 2n, signature: "0x" } as const),
  };

  test("a user operation of 0.6 is signed as a message", async () => {
    const { userOperationHash, signature } = await free.signUserOperation({
      ...{
        walletId: own.walletId,
        chainId: "1",
        entryPoint: entryPoint06Address.toLowerCase(),
        over: "eip191-message",
      },
      userOperation: { version: "0.6", ...operation },
    });
    const hash = getUserOperationHash({
      ...({ chainId: 1, entryPointAddress: entryPoint06Address, entryPointVersion: "0.6" } as const),
      userOperation: forViem,
    });
    expect(userOperationHash).toBe(hash);
    expect(await recoverMessageAddress({ message: { raw: hash }, signature: signature as Hex })).toBe(address);
  });

  test("a user operation of 0.8 is signed as its hash", async () => {
    const { userOperationHash, signature } = await free.signUserOperation({
      ...{ walletId: own.walletId, chainId: "1", entryPoint: entryPoint08Address.toLowerCase(), over: "hash" },
      userOperation: { version: "0.8", ...operation, delegation: null },
    });
    const hash = getUserOperationHash({
      ...({ chainId: 1, entryPointAddress: entryPoint08Address, entryPointVersion: "0.8" } as const),
      userOperation: forViem,
    });
    expect(userOperationHash).toBe(hash);
    expect(await recoverAddress({ hash, signature: signature as Hex })).toBe(address);
  });

  test("ENTRY_POINT_MISMATCH for the entry point of another version", async () => {
    const asked = free.signUserOperation({
      ...{ walletId: own.walletId, chainId: "1", entryPoint: entryPoint06Address.toLowerCase(), over: "hash" },
      userOperation: { version: "0.8", ...operation, delegation: null },
    });
    await expect(asked).rejects.toMatchObject({ code: "ENTRY_POINT_MISMATCH", isFromEnclave: true });
  });

  test("what is asked again gets the same signature", async () => {
    const asked = () => free.signTypedData({ walletId: own.walletId, typedData });
    expect(await asked()).toEqual(await asked());
  });

  test("ACCOUNT_NOT_FOUND for an address that is not the wallet's", async () => {
    const { walletId } = own;
    await expect(free.signTypedData({ walletId, account: RECIPIENT, typedData })).rejects.toMatchObject({
      code: "ACCOUNT_NOT_FOUND",
    });
  });

  describe("a session whose scope names chain 1 alone", () => {
    let limited: Session;

    beforeAll(async () => {
      const key = await generateStampKey();
      const jwt = await simulator.issuer.mint({ subject: "alice", audience: AUDIENCE, nonce: await loginNonce(key) });
      const scope = { operations: null, wallets: null, chains: ["eip155:1"] };
      limited = await client.login({ appId, jwt, key, scope });
    });

    test("signs what is for chain 1", async () => {
      const { walletId } = own;
      await limited.signTypedData({ walletId, typedData });
      await limited.signAuthorization({ walletId, chainId: "1", delegate: RECIPIENT, nonce: "0" });
    });

    test.each<[string, (walletId: string) => Promise<unknown>]>([
      ["typed data for another chain", (walletId) => limited.signTypedData({ walletId, typedData: forChain(2) })],
      ["typed data for no chain", (walletId) => limited.signTypedData({ walletId, typedData: forChain(null) })],
      [
        "an authorization that is good on every chain",
        (walletId) => limited.signAuthorization({ walletId, chainId: "0", delegate: RECIPIENT, nonce: "0" }),
      ],
      [
        "a user operation for another chain",
        (walletId) =>
          limited.signUserOperation({
            ...{ walletId, chainId: "2", entryPoint: entryPoint06Address.toLowerCase(), over: "hash" },
            userOperation: { version: "0.6", ...operation },
          }),
      ],
      ["a message", (walletId) => limited.signMessage({ walletId, message: "0x61" })],
    ])("OUT_OF_SCOPE for %s", async (_what, ask) => {
      await expect(ask(own.walletId)).rejects.toMatchObject({ code: "OUT_OF_SCOPE", isFromEnclave: true });
    });

    function forChain(chainId: number | null) {
      const { chainId: _chainId, ...rest } = domain;
      const fields = types.EIP712Domain.filter(({ name }) => name !== "chainId" || chainId !== null);
      return {
        ...{ ...typedData, types: { ...types, EIP712Domain: fields } },
        domain: chainId === null ? rest : { ...rest, chainId },
      };
    }
  });
});
