import { checkAccount } from "../auth/scope.ts";
import type { AppHandler } from "./handler.ts";

export const listSessions: AppHandler<"list_sessions"> = async ({ actor }, _params, { apps, sessions }) => ({
  sessions: sessions
    .liveOf(actor.user, await apps.get(actor.appId))
    .map(({ sessionId, createdAtMs, expiresAtMs, scope }) => {
      return { sessionId, createdAtMs, expiresAtMs, scope, isCurrent: sessionId === actor.session.sessionId };
    }),
});

export const revokeSession: AppHandler<"revoke_session"> = async ({ actor }, { sessionId }, { sessions }) => {
  if (sessionId !== actor.session.sessionId) checkAccount(actor.scope);
  return { isRevoked: (await sessions.revoke(actor.appId, actor.userId, { sessionId })) > 0 };
};

export const revokeAllSessions: AppHandler<"revoke_all_sessions"> = async ({ actor }, _params, { sessions }) => ({
  revoked: await sessions.revoke(actor.appId, actor.userId, "all"),
});
