import { ownerOf } from "../auth/owner.ts";
import type { AppHandler } from "./handler.ts";

export const createWallet: AppHandler<"create_wallet"> = async ({ actor, envelope }, { kind }, { wallets }) => {
  return await wallets.create(ownerOf(actor), envelope.requestId, kind);
};

export const listWallets: AppHandler<"list_wallets"> = async ({ actor }, { after }, services) => {
  const { wallets, more } = await services.wallets.list(ownerOf(actor), after);
  return { wallets: [...wallets], more };
};
