/** Ethereum's kinds beside viem and ethers, which are given what they sign parsed already. */
import { Transaction, TypedDataEncoder, Wallet } from "ethers";
import {
  encodeFunctionData,
  erc20Abi,
  type Hex,
  hexToBytes,
  parseAbi,
  serializeTransaction,
  type TransactionSerializable,
} from "viem";
import {
  entryPoint06Address,
  entryPoint07Address,
  entryPoint08Address,
  getUserOperationHash,
} from "viem/account-abstraction";
import { privateKeyToAccount } from "viem/accounts";
import { encodeAuthorization, signAuthorization } from "../../enclave/signing/evm/authorization.ts";
import { signatureOver, signEip191 } from "../../enclave/signing/evm/eip191.ts";
import { parseTransaction, signTransaction } from "../../enclave/signing/evm/transaction.ts";
import { transactionFacts } from "../../enclave/signing/evm/transaction-facts.ts";
import { parseTypedData } from "../../enclave/signing/evm/typed-data.ts";
import {
  hashUserOperation,
  type UserOperationRequest,
  userOperationFacts,
} from "../../enclave/signing/evm/user-operation.ts";
import { signRecoverable } from "../../enclave/signing/secp256k1.ts";
import { decodeHex, encodeHex, type JsonValue, type Policy } from "../../protocol/index.ts";
import { judgeBy } from "./judge.ts";
import type { SigningRow } from "./signing-row.ts";

const KEY: Hex = `0x${"46".repeat(32)}`;
const key = hexToBytes(KEY);
const signer = { signDigest: (digest: Uint8Array) => signRecoverable(digest, key) };
const viem = privateKeyToAccount(KEY);
const ethers = new Wallet(KEY);
const TOKEN = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

/** As an app might have it: chain 1, no token call that is not understood, the rest by kind. */
const RULES: Policy = {
  v: 1,
  rules: [
    { id: "not-understood", effect: "deny", when: [{ field: "evm.understood", is: false }] },
    {
      ...{ id: "main-chain", effect: "allow" },
      when: [
        { field: "chain", in: ["eip155:1"] },
        { field: "kind", in: ["evm-transaction", "evm-typed-data", "evm-authorization", "evm-user-operation"] },
      ],
    },
    { id: "messages", effect: "allow", when: [{ field: "kind", in: ["evm-message"] }] },
  ],
};
const judge = judgeBy(RULES);

export async function evmRows(): Promise<readonly SigningRow[]> {
  const rows = [
    ...(await transactionRows()),
    ...[messageRow(), typedDataRow(), authorizationRow()],
    ...userOperationRows(),
  ];
  for (const row of rows) await expectSame(row);
  return rows;
}

/** Both follow RFC 6979: what they sign is the same if the signatures are. */
async function expectSame({ name, ours, theirs, ethers: byEthers }: SigningRow): Promise<void> {
  for (const sign of [theirs, byEthers]) {
    const signed = await sign?.();
    if (signed === undefined) continue;
    const expected = typeof signed === "string" ? signed : (signed as { readonly r: Hex }).r;
    if (!String(ours()).includes(expected.slice(2))) throw new Error(`${name}: a peer signs something else`);
  }
}

async function transactionRows(): Promise<readonly SigningRow[]> {
  const data = encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [RECIPIENT, 25_000_000n] });
  const shared = { chainId: 1, nonce: 7, to: TOKEN, data, gas: 65_000n } as const;
  const fees = { maxFeePerGas: 30_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n };
  const hash: Hex = `0x01${"ab".repeat(31)}`;
  const authorization = await viem.signAuthorization({ chainId: 1, address: RECIPIENT, nonce: 8 });
  const transactions: readonly (readonly [string, TransactionSerializable])[] = [
    ["type 0 (EIP-155)", { ...shared, type: "legacy", gasPrice: 30_000_000_000n }],
    ["type 1 (EIP-2930)", { ...shared, type: "eip2930", gasPrice: 30_000_000_000n, accessList: [] }],
    ["type 2 (EIP-1559)", { ...shared, ...fees, type: "eip1559" }],
    ["type 3 (EIP-4844)", { ...shared, ...fees, type: "eip4844", blobVersionedHashes: [hash], maxFeePerBlobGas: 9n }],
    ["type 4 (EIP-7702)", { ...shared, ...fees, type: "eip7702", authorizationList: [authorization] }],
  ];
  return transactions.map(([name, transaction]) => {
    const unsigned = serializeTransaction(transaction);
    // Parsed here and not by each turn, as for viem.
    const parsedByEthers = Transaction.from(unsigned);
    return {
      ...{ name: `transaction, ${name}`, peer: "viem" },
      ours: () => {
        const parsed = parseTransaction(decodeHex(unsigned.slice(2)));
        judge("sign_transaction", transactionFacts(viem.address, parsed));
        const signed = signTransaction(parsed, signer);
        return [encodeHex(signed.bytes), encodeHex(signed.hash)];
      },
      theirs: () => viem.signTransaction(transaction),
      ethers: () => {
        const made = Transaction.from(parsedByEthers);
        made.signature = ethers.signingKey.sign(made.unsignedHash);
        return made.serialized;
      },
    };
  });
}

function messageRow(): SigningRow {
  const text = "a sign-in message, as long as such messages are: ".repeat(6);
  const hex = encodeHex(Buffer.from(text));
  return {
    ...{ name: "message (EIP-191)", peer: "viem" },
    ours: () => {
      const message = decodeHex(hex);
      judge("sign_message", { kind: "evm-message", from: viem.address, message });
      return encodeHex(signEip191(message, signer));
    },
    theirs: () => viem.signMessage({ message: text }),
    ethers: () => ethers.signMessageSync(text),
  };
}

function typedDataRow(): SigningRow {
  const domain = { name: "USD Coin", version: "2", chainId: 1, verifyingContract: TOKEN } as const;
  const permit = [
    ...([
      { name: "owner", type: "address" },
      { name: "spender", type: "address" },
    ] as const),
    ...([
      { name: "value", type: "uint256" },
      { name: "nonce", type: "uint256" },
    ] as const),
    { name: "deadline", type: "uint256" },
  ] as const;
  const message = {
    owner: viem.address,
    spender: RECIPIENT,
    value: 25_000_000n,
    nonce: 3n,
    deadline: 1_800_000_000n,
  } as const;
  const json: JsonValue = {
    types: {
      EIP712Domain: [
        { name: "name", type: "string" },
        { name: "version", type: "string" },
        { name: "chainId", type: "uint256" },
        { name: "verifyingContract", type: "address" },
      ],
      Permit: permit.map((field) => ({ ...field })),
    },
    ...{ primaryType: "Permit", domain },
    message: { owner: viem.address, spender: RECIPIENT, value: "25000000", nonce: "3", deadline: "1800000000" },
  };
  return {
    ...{ name: "typed data (EIP-712), a permit", peer: "viem" },
    ours: () => {
      const { digest, ...read } = parseTypedData(json);
      judge("sign_typed_data", { kind: "evm-typed-data", from: viem.address, ...read });
      return encodeHex(signatureOver(digest, signer));
    },
    theirs: () => viem.signTypedData({ domain, types: { Permit: permit }, primaryType: "Permit", message }),
    ethers: () =>
      ethers.signingKey.sign(TypedDataEncoder.hash(domain, { Permit: permit.map((field) => ({ ...field })) }, message))
        .serialized,
  };
}

function authorizationRow(): SigningRow {
  return {
    ...{ name: "authorization (EIP-7702)", peer: "viem" },
    ours: () => {
      const authorization = { chainId: 1n, delegate: decodeHex(RECIPIENT.slice(2)), nonce: 8n };
      judge("sign_authorization", {
        ...{ kind: "evm-authorization", from: viem.address, ...authorization },
        delegate: RECIPIENT,
      });
      return encodeHex(encodeAuthorization(signAuthorization(authorization, signer)));
    },
    theirs: () => viem.signAuthorization({ chainId: 1, address: RECIPIENT, nonce: 8 }),
    ethers: () => ethers.authorizeSync({ chainId: 1, address: RECIPIENT, nonce: 8 }).signature.r,
  };
}

function userOperationRows(): readonly SigningRow[] {
  const transfer = encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [RECIPIENT, 25_000_000n] });
  const execute = parseAbi(["function execute(address,uint256,bytes)"]);
  const callData = encodeFunctionData({ abi: execute, args: [TOKEN, 0n, transfer] });
  const sender = RECIPIENT.toLowerCase();
  const shared = {
    ...{ sender, nonce: "7", callData, factory: null, paymaster: null, callGasLimit: "100000" },
    ...{
      verificationGasLimit: "50000",
      preVerificationGas: "40000",
      maxFeePerGas: "30000",
      maxPriorityFeePerGas: "1000",
    },
  };
  const theirs = {
    ...({ sender: RECIPIENT, nonce: 7n, callData, callGasLimit: 100_000n, verificationGasLimit: 50_000n } as const),
    ...({ preVerificationGas: 40_000n, maxFeePerGas: 30_000n, maxPriorityFeePerGas: 1_000n, signature: "0x" } as const),
  };
  const rows: readonly (readonly [Hex, UserOperationRequest["userOperation"]])[] = [
    [entryPoint06Address, { version: "0.6", ...shared }],
    [entryPoint07Address, { version: "0.7", ...shared }],
    [entryPoint08Address, { version: "0.8", ...shared, delegation: null }],
  ];
  return rows.map(([entryPointAddress, userOperation]) => {
    const request = { chainId: "1", entryPoint: entryPointAddress.toLowerCase(), userOperation };
    const { version } = userOperation;
    return {
      ...{ name: `user operation (ERC-4337) ${version}`, peer: "viem" },
      ours: () => {
        const hash = hashUserOperation(request);
        judge("sign_user_operation", userOperationFacts(viem.address, request));
        return encodeHex(version === "0.8" ? signatureOver(hash, signer) : signEip191(hash, signer));
      },
      theirs: () => {
        const hash = getUserOperationHash({
          ...{ chainId: 1, entryPointAddress, entryPointVersion: version, userOperation: theirs },
        });
        return version === "0.8" ? viem.sign({ hash }) : viem.signMessage({ message: { raw: hash } });
      },
    };
  });
}
