/** What is signed for Bitcoin. */
import { decodeHex, encodeHex, RequestError } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { signBip322 } from "../signing/bitcoin/bip322.ts";
import { OwnKeys } from "../signing/bitcoin/own-keys.ts";
import { parsePsbt } from "../signing/bitcoin/psbt.ts";
import { FORMATS, kindOfFormat } from "../signing/bitcoin/scripts.ts";
import { signPsbt } from "../signing/bitcoin/sign-psbt.ts";
import { understand } from "../signing/bitcoin/spend.ts";
import { secp256k1 } from "../wallets/open-wallet.ts";
import type { AppHandler } from "./handler.ts";

export const signBitcoinTransaction: AppHandler<"sign_bitcoin_transaction"> = async (
  { actor, envelope },
  { walletId, network, psbt: text, sighashTypes },
  services,
) => {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text)
    throw new RequestError("INVALID_PARAMS", "psbt: not the one base64 of its bytes");
  const psbt = parsePsbt(bytes);
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const spend = understand(psbt, new OwnKeys(wallet, network), sighashTypes ?? []);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_bitcoin_transaction", walletId, accounts: spend.accounts },
    facts: spend.facts,
  });
  const signed = signPsbt(spend, (account, work) =>
    wallet.sign(authorised, account, (signer) => work(secp256k1(signer))),
  );
  return {
    psbt: Buffer.from(signed.bytes).toString("base64"),
    finalTransaction: signed.final === null ? null : `0x${encodeHex(signed.final.bytes)}`,
    txid: signed.final?.txid ?? null,
  };
};

export const signBitcoinMessage: AppHandler<"sign_bitcoin_message"> = async ({ actor, envelope }, params, services) => {
  const { walletId } = params;
  const message = decodeHex(params.message.slice(2));
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = wallet.account(params.account, FORMATS);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_bitcoin_message", walletId, accounts: [account] },
    facts: { kind: "bitcoin-message", from: account.address, message },
  });
  const { format, bytes } = signBip322(message, account, kindOfFormat(account.format), (held, work) =>
    wallet.sign(authorised, held, (signer) => work(secp256k1(signer))),
  );
  return { format, signature: Buffer.from(bytes).toString("base64"), address: account.address };
};
