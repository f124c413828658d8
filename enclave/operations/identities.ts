import { encodeHex, RequestError } from "../../protocol/index.ts";
import { userRequestOf } from "../auth/actor.ts";
import { ownerOf } from "../auth/owner.ts";
import { verifyJwt } from "../auth/verify-jwt.ts";
import type { AppHandler } from "./handler.ts";

/** The login is bound to the session's key, as one that begins a session is: nobody can link what they overheard. */
export const linkIdentity: AppHandler<"link_identity"> = async ({ actor, asker, isSealed }, { jwt }, services) => {
  const { apps, identities, jwks, nowMs } = services;
  if (asker.kind !== "key") throw new RequestError("CALLER_NOT_ALLOWED", "an identity is linked by a session's key");
  const { issuers } = await apps.get(actor.appId);
  const sessionKey = { hex: encodeHex(asker.stamp.publicKey), isSealed };
  const login = await verifyJwt(jwt, sessionKey, issuers, { jwks, nowMs });
  return await identities.link(userRequestOf(actor), login);
};

export const listIdentities: AppHandler<"list_identities"> = async ({ actor }) => ({
  identities: [...actor.user.identities],
});

export const unlinkIdentity: AppHandler<"unlink_identity"> = async ({ actor }, { identityId }, { identities }) => {
  await identities.unlink(userRequestOf(actor), identityId);
  return {};
};

/** An API key sees the events of the app's own wallets. */
export const listEvents: AppHandler<"list_events"> = async ({ actor }, { after }, { events, users }) => {
  const { appId, userId } = ownerOf(actor);
  const user = actor.kind === "api-key" ? await users.get(appId, userId) : actor.user;
  if (user === null) throw new RequestError("RECORD_ROLLED_BACK", "a user who was here is gone");
  const page = await events.list(appId, userId, user, after);
  return { ...page, events: [...page.events] };
};
