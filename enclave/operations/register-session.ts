import { encodeHex } from "../../protocol/index.ts";
import { verifyJwt } from "../auth/verify-jwt.ts";
import type { AppHandler } from "./handler.ts";

/** The key that stamps the login is the one that gets the session. */
export const registerSession: AppHandler<"register_session"> = async (
  { envelope, appId, stamp },
  { jwt },
  services,
) => {
  const { apps, jwks, nowMs, replays, sessions } = services;
  const sessionKeyHex = encodeHex(stamp.publicKey);
  const app = await apps.get(appId);
  const login = await verifyJwt(jwt, sessionKeyHex, app.issuers, { jwks, nowMs });
  await replays.claim(`${appId}/${sessionKeyHex}`, envelope.requestId, envelope.issuedAtMs);
  const { sessionId, userId, expiresAtMs } = await sessions.register(appId, stamp, login, app.sessionLifetimeS * 1000);
  return { sessionId, userId, expiresAtMs };
};
