/** Transactions made by viem, for the enclave to sign and viem to judge. */
import { encodeFunctionData, erc20Abi, serializeTransaction } from "viem";

const USDC_MAINNET = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

export function usdcTransfer(changes: { readonly chainId?: number; readonly nonce?: number } = {}): `0x${string}` {
  return serializeTransaction({
    type: "eip1559",
    chainId: changes.chainId ?? 1,
    nonce: changes.nonce ?? 0,
    to: USDC_MAINNET,
    data: encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [RECIPIENT, 25_000_000n] }),
    gas: 65_000n,
    maxFeePerGas: 30_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
  });
}

/** One whose data is as long as asked, and different everywhere. */
export function transactionWithData(data: Uint8Array): `0x${string}` {
  return serializeTransaction({
    ...{ type: "eip1559", chainId: 1, nonce: 0, to: RECIPIENT, gas: 30_000_000n },
    data: `0x${Buffer.from(data).toString("hex")}`,
    ...{ maxFeePerGas: 30_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n },
  });
}
