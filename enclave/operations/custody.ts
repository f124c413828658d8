/** Wallets whose secret is split. */
import { type UserActor, userRequestOf } from "../auth/actor.ts";
import { loginOf } from "../auth/logins.ts";
import type { CustodyRequest } from "../custody/custody.ts";
import type { AppHandler, Services } from "./handler.ts";

export const createSplitWallet: AppHandler<"create_split_wallet"> = async (request, params, services) =>
  await services.custody.create(custodyRequestOf(request, services), params);

export const recoverWallet: AppHandler<"recover_wallet"> = async (request, params, services) =>
  await services.custody.recover(custodyRequestOf(request, services), params);

export const reshareWallet: AppHandler<"reshare_wallet"> = async (request, params, services) =>
  await services.custody.reshare(custodyRequestOf(request, services), params);

function custodyRequestOf(
  { actor, envelope }: Parameters<AppHandler<"recover_wallet">>[0] & { readonly actor: UserActor },
  { nowMs }: Services,
): CustodyRequest {
  const { audience, requestId, share } = envelope;
  return { ...userRequestOf(actor), audience, requestId, share, login: loginOf(actor, nowMs()) };
}
