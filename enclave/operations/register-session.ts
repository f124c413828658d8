import { encodeHex, WHOLE_SCOPE } from "../../protocol/index.ts";
import { verifyJwt } from "../auth/verify-jwt.ts";
import type { LoginHandler } from "./handler.ts";

/** The key that stamps the login is the one that gets the session. */
export const registerSession: LoginHandler<"register_session"> = async (
  { envelope, appId, stamp, isSealed },
  { jwt, scope = WHOLE_SCOPE, lifetimeS },
  services,
) => {
  const { apps, jwks, nowMs, replays, sessions } = services;
  const sessionKeyHex = encodeHex(stamp.publicKey);
  const app = await apps.get(appId);
  const login = await verifyJwt(jwt, { hex: sessionKeyHex, isSealed }, app.issuers, { jwks, nowMs });
  await replays.claim(`${appId}/${sessionKeyHex}`, envelope.requestId, envelope.issuedAtMs);
  const lifetimeMs = Math.min(lifetimeS ?? app.sessionLifetimeS, app.maxSessionLifetimeS) * 1000;
  return await sessions.register(appId, stamp, login, { lifetimeMs, scope });
};
