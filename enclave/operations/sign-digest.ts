/** What is signed without being understood: policies deny it unless they name it. */
import { decodeHex, encodeHex } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { checkRaw, rawAccount, signRaw } from "../signing/raw-digest.ts";
import type { AppHandler } from "./handler.ts";

export const signDigest: AppHandler<"sign_digest"> = async ({ actor, envelope }, params, services) => {
  const { walletId, scheme } = params;
  const digest = decodeHex(params.digest.slice(2));
  using wallet = await services.wallets.open(ownerOf(actor), walletId);
  const account = rawAccount(wallet.accounts, params.account, scheme);
  checkRaw(digest, scheme, account, wallet.accounts);
  const authorised = await services.policies.authorise({
    ...{ actor, envelope, operation: "sign_digest", walletId, accounts: [account] },
    facts: { kind: "raw-digest", curve: account.curve, scheme, from: account.address, digest },
  });
  const { signature, recoveryId } = wallet.sign(authorised, account, (signer) => signRaw(digest, scheme, signer));
  return { signature: `0x${encodeHex(signature)}`, recoveryId };
};
