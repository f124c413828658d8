import type { EvmTransactionFacts } from "../../policy/facts.ts";
import { checksummed } from "../ethereum-address.ts";
import { authorityOf } from "./authorization.ts";
import { tokenMovesOf } from "./token-moves.ts";
import type { EvmTransaction } from "./transaction.ts";

/** EIP-4844: GAS_PER_BLOB. */
const GAS_PER_BLOB = 2n ** 17n;

/** What policies are told of a transaction. @param from - The account that is to sign it. */
export function transactionFacts(from: string, transaction: EvmTransaction): EvmTransactionFacts {
  const { type, chainId, nonce, valueWei, data, gasLimit, maxFeePerGas } = transaction;
  const to = transaction.to === null ? null : checksummed(transaction.to);
  const blobs = transaction.blobVersionedHashes.length;
  return {
    ...{ kind: "evm-transaction", type, chainId, nonce, from, to, valueWei, data, gasLimit, blobs },
    maxFeePerGasWei: maxFeePerGas,
    maxFeeWei: gasLimit * maxFeePerGas + BigInt(blobs) * GAS_PER_BLOB * transaction.maxFeePerBlobGas,
    ...tokenMovesOf(from, to === null ? [] : [{ to, valueWei, data }]),
    authorizations: transaction.authorizations.map((authorization) => ({
      chainId: authorization.chainId,
      delegate: checksummed(authorization.delegate),
      nonce: authorization.nonce,
      authority: authorityOf(authorization),
    })),
  };
}
