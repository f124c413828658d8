import type { Owner } from "../wallets/wallets.ts";
import type { AppRequest, Services } from "./handler.ts";

/**
 * Says whose wallets a request may touch: the stamp's key has a live session in this app, and the request was not acted
 * on before.
 *
 * @throws {@link RequestError} `SESSION_UNKNOWN`, `SESSION_EXPIRED`, `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`, and what records throw
 */
export async function authenticateSession(request: AppRequest, { sessions, replays }: Services): Promise<Owner> {
  const { envelope, appId, stamp } = request;
  const { sessionId, userId } = await sessions.find(appId, stamp);
  await replays.claim(sessionId, envelope.requestId, envelope.issuedAtMs);
  return { appId, userId };
}
