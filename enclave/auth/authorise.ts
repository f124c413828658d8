/** The one place that says who asks inside an app, and whether they may. */
import {
  ACCESS,
  type AppAccess,
  type AppOperation,
  encodeHex,
  type RequestEnvelope,
  RequestError,
  type Stamp,
} from "../../protocol/index.ts";
import type { Apps } from "../apps/apps.ts";
import type { Actor, ActorOf } from "./actor.ts";
import type { ReplayGuard } from "./replay-guard.ts";
import { checkScope } from "./scope.ts";
import type { Sessions } from "./sessions.ts";

/** A request inside an app, with the one stamp that it may have, which has been verified. */
export interface AppRequest {
  readonly envelope: RequestEnvelope;
  readonly stamp: Stamp;
  readonly appId: string;
  /** Nobody who relayed it could read it. */
  readonly isSealed: boolean;
}

/**
 * Says who asks, that they may, and that the request was not acted on before.
 *
 * @throws {@link RequestError} `APP_NOT_FOUND`, `SESSION_UNKNOWN`, `SESSION_EXPIRED`, `CALLER_NOT_ALLOWED`, `OUT_OF_SCOPE`,
 *   `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`, and what records throw
 */
export async function authorise<Name extends AppOperation>(
  operation: Name,
  request: AppRequest,
  params: object,
  services: {
    readonly apps: Apps;
    readonly sessions: Sessions;
    readonly replays: ReplayGuard;
    readonly nowMs: () => number;
  },
): Promise<ActorOf<Name>> {
  const { envelope } = request;
  const actor = await identify(request, services);
  const { callers }: AppAccess = ACCESS[operation];
  if (!callers.includes(actor.kind)) {
    throw new RequestError("CALLER_NOT_ALLOWED", `${operation} is for ${callers.join(" and ")}, not for ${actor.kind}`);
  }
  checkScope(actor.scope, operation, params);
  await services.replays.claim(askerOf(actor), envelope.requestId, envelope.issuedAtMs);
  return actor as ActorOf<Name>;
}

async function identify(
  { appId, stamp }: AppRequest,
  { apps, sessions, nowMs }: { readonly apps: Apps; readonly sessions: Sessions; readonly nowMs: () => number },
): Promise<Actor> {
  const app = await apps.get(appId);
  const publicKey = encodeHex(stamp.publicKey);
  const apiKey = app.apiKeys.find((each) => each.publicKey === publicKey && each.scheme === stamp.scheme);
  if (apiKey !== undefined && (apiKey.expiresAtMs === null || apiKey.expiresAtMs > nowMs())) {
    return { kind: "api-key", appId, keyId: publicKey, scope: apiKey.permissions };
  }
  const { userId, user, session } = await sessions.find(appId, stamp);
  return { kind: "session", appId, userId, user, session, scope: session.scope };
}

/** Whose request ids these are: nobody can use up another's. */
function askerOf(actor: Actor): string {
  switch (actor.kind) {
    case "session":
      return actor.session.sessionId;
    case "api-key":
      return `${actor.appId}/${actor.keyId}`;
  }
}
