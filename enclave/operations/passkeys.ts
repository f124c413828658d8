import { encodeBase64url, encodeHex, RequestError, WHOLE_SCOPE } from "../../protocol/index.ts";
import { userRequestOf } from "../auth/actor.ts";
import { describe } from "../auth/passkeys.ts";
import type { AppHandler, LoginHandler } from "./handler.ts";

/**
 * Both have stamped this body: the key, which the body names, gets the session, and the passkey says whose it is. The key's
 * stamp does not say which passkey is meant, unless the body names it. So that nobody's passkey can be put in another's
 * place, the body is one request of the key's, whatever passkey comes with it, and it comes sealed: stamps that nobody saw
 * cannot be taken apart.
 */
export const registerSessionWithPasskey: LoginHandler<"register_session_with_passkey"> = async (
  { envelope, appId, body, stamp, passkey },
  { publicKey, credentialId, scope = WHOLE_SCOPE, lifetimeS },
  { apps, passkeys, replays, sessions },
) => {
  if (passkey === null) throw new RequestError("STAMP_MISSING", "no passkey's stamp");
  if (publicKey !== encodeHex(stamp.publicKey)) {
    throw new RequestError("STAMP_UNEXPECTED", "the key that stamps is not the one that the passkey vouches for");
  }
  if (credentialId !== undefined && credentialId !== encodeBase64url(passkey.credentialId)) {
    throw new RequestError("STAMP_UNEXPECTED", "the passkey that stamps is not the one that the login names");
  }
  const verify = async () => passkeys.verify(appId, passkey, body, (await apps.get(appId, 0)).passkeys, 0);
  const { passkeyId } = (await verify()).passkey;
  for (const asker of [encodeHex(stamp.publicKey), passkeyId]) {
    await replays.claim(`${appId}/${asker}`, envelope.requestId, envelope.issuedAtMs);
  }
  // Again: a request dated ahead has waited.
  const found = await verify();
  const app = await apps.get(appId);
  await passkeys.use(appId, found);
  const lifetimeMs = Math.min(lifetimeS ?? app.sessionLifetimeS, app.maxSessionLifetimeS) * 1000;
  return await sessions.registerByPasskey(appId, stamp, { userId: found.userId, passkeyId }, { lifetimeMs, scope });
};

export const registerPasskey: AppHandler<"register_passkey"> = async (request, params, { apps, passkeys }) => {
  const { actor, body, envelope, newPasskey } = request;
  if (newPasskey === null) throw new RequestError("STAMP_MISSING", "no stamp of the passkey that is to be registered");
  const app = await apps.get(actor.appId);
  const { audience, requestId } = envelope;
  const registration = { ...userRequestOf(actor), audience, requestId, body, stamp: newPasskey };
  return await passkeys.register(registration, params, app.passkeys);
};

export const listPasskeys: AppHandler<"list_passkeys"> = async ({ actor }) => ({
  passkeys: actor.user.passkeys.map(describe),
});

export const removePasskey: AppHandler<"remove_passkey"> = async ({ actor }, { passkeyId }, { passkeys }) => {
  await passkeys.remove(userRequestOf(actor), passkeyId);
  return {};
};
