/** What is signed for Ethereum and the chains like it. */
import { decodeHex, encodeHex, RequestError } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { checksummed } from "../signing/ethereum-address.ts";
import { encodeAuthorization, signAuthorization as signParsedAuthorization } from "../signing/evm/authorization.ts";
import { signatureOver, signEip191 } from "../signing/evm/eip191.ts";
import { parseTransaction, signTransaction as signParsedTransaction } from "../signing/evm/transaction.ts";
import { transactionFacts } from "../signing/evm/transaction-facts.ts";
import { parseTypedData } from "../signing/evm/typed-data.ts";
import { hashUserOperation, userOperationFacts } from "../signing/evm/user-operation.ts";
import { secp256k1 } from "../wallets/open-wallet.ts";
import type { AppHandler } from "./handler.ts";

export const signTransaction: AppHandler<"sign_transaction"> = async ({ actor, envelope }, params, services) => {
  const { walletId, chainId, unsignedTransaction } = params;
  const transaction = parseTransaction(decodeHex(unsignedTransaction.slice(2)));
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
    facts: transactionFacts(account.address, transaction),
  });
  const { bytes, hash } = wallet.sign(authorised, account, (signer) =>
    signParsedTransaction(transaction, secp256k1(signer)),
  );
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

export const signTypedData: AppHandler<"sign_typed_data"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const { digest, domain, primaryType, message } = parseTypedData(params.typedData);
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["ethereum"]);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_typed_data", walletId, accounts: [account] },
    facts: { kind: "evm-typed-data", from: account.address, domain, primaryType, message },
  });
  const signature = wallet.sign(authorised, account, (signer) => signatureOver(digest, secp256k1(signer)));
  return { signature: `0x${encodeHex(signature)}` };
};

export const signAuthorization: AppHandler<"sign_authorization"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const delegate = decodeHex(params.delegate.slice(2));
  const authorization = { chainId: BigInt(params.chainId), delegate, nonce: BigInt(params.nonce) };
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["ethereum"]);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_authorization", walletId, accounts: [account] },
    facts: {
      ...{ kind: "evm-authorization", from: account.address, ...authorization },
      delegate: checksummed(delegate),
    },
  });
  const signed = wallet.sign(authorised, account, (signer) =>
    signParsedAuthorization(authorization, secp256k1(signer)),
  );
  const { rs, recoveryId } = signed.signature;
  return {
    yParity: recoveryId === 0 ? 0 : 1,
    r: `0x${encodeHex(rs.subarray(0, 32))}`,
    s: `0x${encodeHex(rs.subarray(32))}`,
    signedAuthorization: `0x${encodeHex(encodeAuthorization(signed))}`,
  };
};

export const signUserOperation: AppHandler<"sign_user_operation"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const hash = hashUserOperation(params);
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["ethereum"]);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_user_operation", walletId, accounts: [account] },
    facts: userOperationFacts(account.address, params),
  });
  const sign = params.over === "hash" ? signatureOver : signEip191;
  const signature = wallet.sign(authorised, account, (signer) => sign(hash, secp256k1(signer)));
  return { userOperationHash: `0x${encodeHex(hash)}`, signature: `0x${encodeHex(signature)}` };
};
