import { encodeHex, type LoginOperation, type Params, REQUEST_WINDOW_MS, WHOLE_SCOPE } from "../../protocol/index.ts";
import type { AppSettings } from "../apps/app.ts";
import { type VerifiedLogin, verifyJwt } from "../auth/verify-jwt.ts";
import type { LoginHandler, LoginRequest, Services } from "./handler.ts";

/** The key that stamps the login is the one that gets the session. */
export const registerSession: LoginHandler<"register_session"> = async (request, params, services) => {
  const { app, login } = await verifyLogin(request, params, services);
  const { scope = WHOLE_SCOPE } = params;
  const lifetimeMs = lifetimeMsOf(app, params);
  return await services.sessions.register(request.appId, request.stamp, login, { lifetimeMs, scope });
};

export const refreshSession: LoginHandler<"refresh_session"> = async (request, params, services) => {
  const { app, login } = await verifyLogin(request, params, services);
  const asked = { lifetimeMs: lifetimeMsOf(app, params), replaced: params.sessionId, app };
  return await services.sessions.refresh(request.appId, request.stamp, login, asked);
};

async function verifyLogin(
  { envelope, appId, stamp, isSealed }: LoginRequest,
  { jwt }: { readonly jwt: string },
  { apps, jwks, nowMs, replays, onceForAll }: Services,
): Promise<{ readonly app: AppSettings; readonly login: VerifiedLogin }> {
  const sessionKeyHex = encodeHex(stamp.publicKey);
  const app = await apps.get(appId);
  const login = await verifyJwt(jwt, { hex: sessionKeyHex, isSealed }, app.issuers, { jwks, nowMs });
  await replays.claim(`${appId}/${sessionKeyHex}`, envelope.requestId, envelope.issuedAtMs);
  const operation = envelope.operation as LoginOperation;
  await onceForAll.claim(operation, { envelope, isSealed }, `${appId}/${sessionKeyHex}`, REQUEST_WINDOW_MS);
  return { app, login };
}

function lifetimeMsOf(app: AppSettings, { lifetimeS }: Pick<Params<"register_session">, "lifetimeS">): number {
  return Math.min(lifetimeS ?? app.sessionLifetimeS, app.maxSessionLifetimeS) * 1000;
}
