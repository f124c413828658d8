import { authenticateSession } from "./authenticate-session.ts";
import type { AppHandler } from "./handler.ts";

export const createWallet: AppHandler<"create_wallet"> = async (request, { kind }, services) => {
  const owner = await authenticateSession(request, services);
  return await services.wallets.create(owner, request.envelope.requestId, kind);
};

export const listWallets: AppHandler<"list_wallets"> = async (request, { after }, services) => {
  const owner = await authenticateSession(request, services);
  const { wallets, more } = await services.wallets.list(owner, after);
  return { wallets: [...wallets], more };
};
