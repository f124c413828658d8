import { decodeHex, encodeHex, RequestError } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { checkPolicy } from "../policy/decide.ts";
import { signEip191 } from "../signing/eip191.ts";
import { parseEip1559, signEip1559 } from "../signing/eip1559.ts";
import type { AppHandler } from "./handler.ts";

export const signTransaction: AppHandler<"sign_transaction"> = async ({ actor }, params, services) => {
  const { walletId, chainId, unsignedTransaction } = params;
  const transaction = parseEip1559(decodeHex(unsignedTransaction.slice(2)));
  if (transaction.chainId.toString() !== chainId) {
    throw new RequestError(
      "CHAIN_MISMATCH",
      `the transaction is for chain ${transaction.chainId}, asked for ${chainId}`,
    );
  }
  const { signingPolicy } = await services.apps.get(actor.appId);
  checkPolicy({ kind: "evm-transaction", chainId: transaction.chainId }, signingPolicy, actor.scope);
  const { bytes, hash } = await services.wallets.withKey(ownerOf(actor), walletId, (key) =>
    signEip1559(transaction, key),
  );
  return { signedTransaction: `0x${encodeHex(bytes)}`, transactionHash: `0x${encodeHex(hash)}` };
};

export const signMessage: AppHandler<"sign_message"> = async ({ actor }, { walletId, message }, services) => {
  const { signingPolicy } = await services.apps.get(actor.appId);
  checkPolicy({ kind: "evm-message" }, signingPolicy, actor.scope);
  const bytes = decodeHex(message.slice(2));
  const signature = await services.wallets.withKey(ownerOf(actor), walletId, (key) => signEip191(bytes, key));
  return { signature: `0x${encodeHex(signature)}` };
};
