/** What is signed for Ethereum and the chains like it. */
import { decodeHex, encodeHex, RequestError } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { signEip191 } from "../signing/eip191.ts";
import { parseEip1559, signEip1559 } from "../signing/eip1559.ts";
import { checksummed } from "../signing/ethereum-address.ts";
import { secp256k1 } from "../wallets/open-wallet.ts";
import type { AppHandler } from "./handler.ts";

export const signTransaction: AppHandler<"sign_transaction"> = async ({ actor, envelope }, params, services) => {
  const { walletId, chainId, unsignedTransaction } = params;
  const transaction = parseEip1559(decodeHex(unsignedTransaction.slice(2)));
  if (transaction.chainId.toString() !== chainId) {
    throw new RequestError(
      "CHAIN_MISMATCH",
      `the transaction is for chain ${transaction.chainId}, asked for ${chainId}`,
    );
  }
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["ethereum"]);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_transaction", walletId, accounts: [account] },
    facts: {
      ...{ kind: "evm-transaction", type: 2, from: account.address, tokenMoves: [], authorizations: [] },
      ...{ hasUnreadTokenCall: false, blobs: 0 },
      to: transaction.to === null ? null : checksummed(transaction.to),
      chainId: transaction.chainId,
      nonce: transaction.nonce,
      valueWei: transaction.valueWei,
      data: transaction.data,
      gasLimit: transaction.gasLimit,
      maxFeePerGasWei: transaction.maxFeePerGas,
      maxFeeWei: transaction.gasLimit * transaction.maxFeePerGas,
    },
  });
  const { bytes, hash } = wallet.sign(authorised, account, (signer) => signEip1559(transaction, secp256k1(signer)));
  return { signedTransaction: `0x${encodeHex(bytes)}`, transactionHash: `0x${encodeHex(hash)}` };
};

export const signMessage: AppHandler<"sign_message"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const message = decodeHex(params.message.slice(2));
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["ethereum"]);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_message", walletId, accounts: [account] },
    facts: { kind: "evm-message", from: account.address, message },
  });
  const signature = wallet.sign(authorised, account, (signer) => signEip191(message, secp256k1(signer)));
  return { signature: `0x${encodeHex(signature)}` };
};
