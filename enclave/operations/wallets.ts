import { ownerOf } from "../auth/owner.ts";
import type { AppHandler } from "./handler.ts";

export const createWallet: AppHandler<"create_wallet"> = async ({ actor, envelope }, params, { wallets }) => {
  return await wallets.create(ownerOf(actor), envelope.requestId, params);
};

export const createAccounts: AppHandler<"create_accounts"> = async ({ actor }, params, { wallets }) => {
  return { accounts: [...(await wallets.addAccounts(ownerOf(actor), params.walletId, params.accounts))] };
};

export const listWallets: AppHandler<"list_wallets"> = async ({ actor }, { after }, services) => {
  const { wallets, more } = await services.wallets.list(ownerOf(actor), after);
  return { wallets: [...wallets], more };
};
