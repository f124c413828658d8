/** What is signed for Solana. */
import { decodeHex, encodeHex } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { checkSigner, parseTextMessage } from "../signing/solana/off-chain-message.ts";
import { checkSignatures, parseTransaction, signerIndex, signTransaction } from "../signing/solana/transaction.ts";
import { transactionFacts } from "../signing/solana/transaction-facts.ts";
import { ed25519 } from "../wallets/open-wallet.ts";
import type { AppHandler } from "./handler.ts";

export const signSolanaTransaction: AppHandler<"sign_solana_transaction"> = async (
  { actor, envelope },
  params,
  services,
) => {
  const { walletId } = params;
  const transaction = parseTransaction(decodeHex(params.transaction.slice(2)));
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["solana"]);
  signerIndex(transaction.message, decodeHex(account.publicKey));
  checkSignatures(transaction);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_solana_transaction", walletId, accounts: [account] },
    facts: transactionFacts(transaction.message, account.address),
  });
  const signed = wallet.sign(authorised, account, (signer) => signTransaction(transaction, ed25519(signer)));
  return {
    signature: `0x${encodeHex(signed.signature)}`,
    signedTransaction: `0x${encodeHex(signed.bytes)}`,
    isComplete: signed.isComplete,
  };
};

export const signSolanaMessage: AppHandler<"sign_solana_message"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const bytes = decodeHex(params.message.slice(2));
  const message = parseTextMessage(bytes);
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, ["solana"]);
  checkSigner(message, decodeHex(account.publicKey));
  const { form, text, applicationDomain } = message;
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_solana_message", walletId, accounts: [account] },
    facts: { kind: "solana-message", from: account.address, message: text, form, applicationDomain },
  });
  const signature = wallet.sign(authorised, account, (signer) => ed25519(signer).signMessage(bytes));
  return { signature: `0x${encodeHex(signature)}` };
};
