/**
 * The main job, as a new user would do it: verify the enclave, make an app, log in, make a wallet, sign a transaction.
 * viem has no part in the signing: it judges the result.
 */
import { parseArgs } from "node:util";
import {
  encodeFunctionData,
  erc20Abi,
  parseUnits,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializedEIP1559,
} from "viem";
import { generateStampKey, loginNonce } from "../client/index.ts";
import { encodeHex } from "../protocol/index.ts";
import { DEFAULT_EIF, type Simulator, startEmulation, startSimulator } from "../simulator/index.ts";

const USDC_MAINNET = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
/** vitalik.eth: an address that is not ours. */
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

export type Step = <Value>(what: string, work: () => Promise<Value>) => Promise<Value>;
export type Detail = (name: string, value: string) => void;

/**
 * @returns The wallet's address, which is the sender that viem recovers.
 * @throws Error where anything refuses, or viem recovers another sender.
 */
export async function demonstrate(
  simulator: Omit<Simulator, "advanceClock">,
  { step, detail }: { readonly step: Step; readonly detail: Detail },
): Promise<string> {
  const client = await step("verify the enclave's attestation", () => simulator.connect());
  detail("PCR0", encodeHex(simulator.expected.pcrs[0]?.get(0) ?? new Uint8Array(0)));

  const { appId } = await step("create an app, as administrator", () =>
    client.createApp([simulator.administratorKey], {
      name: "demo",
      issuers: [
        {
          issuer: simulator.issuer.issuer,
          audiences: ["demo"],
          jwksUri: simulator.issuer.jwksUri,
          algorithms: ["RS256"],
        },
      ],
      sessionLifetimeS: 900,
      signingPolicy: { evmChainIds: ["1"], messages: "deny" },
    }),
  );
  detail("app", appId);

  const key = await step("make a session key that cannot be exported", () => generateStampKey());
  const nonce = await loginNonce(key);
  const jwt = await step("get a login token bound to that key, from the issuer", () =>
    simulator.issuer.mint({ subject: "alice", audience: "demo", nonce }),
  );
  const session = await step("log in: the enclave checks the token and registers the key", () =>
    client.login({ appId, jwt, key }),
  );
  detail("user", session.userId);

  const wallet = await step("create a wallet whose key only the enclave holds", () =>
    session.createWallet({ kind: "hd" }),
  );
  detail("address", `${wallet.accounts[0].address}  (${wallet.accounts[0].path})`);

  const unsignedTransaction = serializeTransaction({
    type: "eip1559",
    chainId: 1,
    nonce: 0,
    to: USDC_MAINNET,
    data: encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [RECIPIENT, parseUnits("25", 6)] }),
    gas: 65_000n,
    maxFeePerGas: 30_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
  });
  const { signedTransaction, transactionHash } = await step("sign a transfer of 25 USDC on Ethereum mainnet", () =>
    session.signTransaction({ walletId: wallet.walletId, chainId: "1", unsignedTransaction }),
  );
  detail("hash", transactionHash);
  detail("signed raw transaction", signedTransaction);

  const sender = await step("recover the sender with viem", () =>
    recoverTransactionAddress({ serializedTransaction: signedTransaction as TransactionSerializedEIP1559 }),
  );
  if (sender !== wallet.accounts[0].address)
    throw new Error(`viem recovers ${sender}, the wallet is ${wallet.accounts[0].address}`);
  detail("sender", `${sender}  = the wallet's address`);
  return wallet.accounts[0].address;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      verbose: { type: "boolean", default: false },
      /** The enclave's image in QEMU, in place of its process. */
      emulated: { type: "boolean", default: false },
      eif: { type: "string", default: DEFAULT_EIF },
    },
  });
  const log = values.verbose ? { log: (line: string) => console.error(line) } : {};
  const start = (): Promise<Omit<Simulator, "advanceClock">> =>
    values.emulated ? startEmulation({ eif: values.eif, ...log }) : startSimulator(log);
  await using simulator = await step("start enclave, parent, KMS, NSM and login issuer", start);
  detail("processes", `enclave pid ${simulator.enclavePid}, parent pid ${simulator.parentPid}`);
  await demonstrate(simulator, { step, detail });
  await step("stop everything", () => simulator.stop());
}

async function step<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
  const startedAt = performance.now();
  const value = await work();
  const ms = (performance.now() - startedAt).toFixed(1).padStart(8);
  console.log(`${ms} ms  ${what}`);
  return value;
}

function detail(name: string, value: string): void {
  console.log(`             ${name}: ${value}`);
}

if (import.meta.main) await main();
