/** The one place that says who asks inside an app, and whether they may. */
import {
  ACCESS,
  type AppAccess,
  type AppOperation,
  type EnclaveErrorCode,
  encodeHex,
  isBatch,
  REQUEST_WINDOW_MS,
  type RequestEnvelope,
  RequestError,
  type Stamp,
  type WebauthnStamp,
  WHOLE_SCOPE,
} from "../../protocol/index.ts";
import type { Apps } from "../apps/apps.ts";
import { TRUSTED_FOR_MS } from "../vault/fresh-cache.ts";
import { type Actor, type ActorOf, userRequestOf } from "./actor.ts";
import { judgedAs } from "./judged-as.ts";
import type { OnceForAll } from "./once-for-all.ts";
import type { FoundPasskey, Passkeys } from "./passkeys.ts";
import type { ReplayGuard } from "./replay-guard.ts";
import { checkScope } from "./scope.ts";
import type { SecondFactors } from "./second-factors.ts";
import type { Sessions } from "./sessions.ts";

/** A request inside an app. It has the stamps that its operation asks for, and no others. */
export interface AppRequest {
  readonly envelope: RequestEnvelope;
  readonly appId: string;
  /** The bytes that the stamps are for. */
  readonly body: Uint8Array;
  /** Nobody who relayed it could read it. */
  readonly isSealed: boolean;
  readonly asker: Asker;
  /** Not verified yet: of a passkey that the request brings along. */
  readonly newPasskey: WebauthnStamp | null;
}

/** A key's stamp has been verified. A passkey's can only be where the passkey is known. */
export type Asker =
  | { readonly kind: "key"; readonly stamp: Stamp }
  | { readonly kind: "passkey"; readonly stamp: WebauthnStamp };

export interface AuthoriseServices {
  readonly apps: Apps;
  readonly sessions: Sessions;
  readonly passkeys: Passkeys;
  readonly secondFactors: SecondFactors;
  readonly replays: ReplayGuard;
  readonly onceForAll: OnceForAll;
  readonly nowMs: () => number;
}

/**
 * Says who asks, that they may, and that the request was not acted on before.
 *
 * @throws {@link RequestError} `APP_NOT_FOUND`, `SESSION_UNKNOWN`, `SESSION_EXPIRED`, `PASSKEY_…`, `CALLER_NOT_ALLOWED`,
 *   `OUT_OF_SCOPE`, `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`, `SECOND_FACTOR_…`, and what records throw
 */
export async function authorise<Name extends AppOperation>(
  operation: Name,
  request: AppRequest,
  params: object,
  services: AuthoriseServices,
): Promise<ActorOf<Name>> {
  const { envelope, appId } = request;
  const claim = (asker: string) => services.replays.claim(asker, envelope.requestId, envelope.issuedAtMs);
  const askedAtMs = services.nowMs();
  const early = await admit(operation, request, params, services, TRUSTED_FOR_MS);
  const asker = askerOf(early.actor);
  const hasWaited = await claim(asker);
  const maxAgeMs = maxAgeOf(operation);
  // Again: a request dated ahead has waited, or the store was asked, and what let it in may have been revoked meanwhile.
  // Where memory knew it all, that very look was just now.
  const isAsGood = !hasWaited && services.nowMs() - askedAtMs <= SAME_LOOK_MS && maxAgeMs === TRUSTED_FOR_MS;
  const { actor, passkey } = isAsGood ? early : await admit(operation, request, params, services, maxAgeMs);
  if (askerOf(actor) !== asker) await claim(askerOf(actor));
  await services.onceForAll.claim(operation, request, askerOf(actor), REQUEST_WINDOW_MS);
  // After the claim: a copy of a request neither counts a passkey up nor tries a code.
  if (passkey !== null) await services.passkeys.use(appId, passkey);
  if (actor.kind !== "api-key") {
    const { totp } = await services.apps.get(appId);
    const operations = judgedAs(operation, params);
    await services.secondFactors.check(userRequestOf(actor), operations, envelope.secondFactor, totp);
  }
  return actor as ActorOf<Name>;
}

/** Longer than a look into memory takes among other requests, and shorter than whoever holds back the store's answers needs. */
const SAME_LOOK_MS = 5;

/** What another enclave may have changed less than a moment ago: who is refused by what is remembered is looked at anew. */
const MAY_HAVE_CHANGED: ReadonlySet<EnclaveErrorCode> = new Set([
  "SESSION_UNKNOWN",
  "SESSION_EXPIRED",
  "PASSKEY_UNKNOWN",
  "PASSKEYS_NOT_ALLOWED",
  "OUT_OF_SCOPE",
]);

/** Who looks at an account sees what was done to it, at whichever enclave; the rest may rest on a moment ago. */
function maxAgeOf(operation: AppOperation): number {
  const { wallet, chain }: AppAccess = ACCESS[operation];
  // Of what is refused in a batch nothing is looked at anew, and one look more is little to so many.
  if (isBatch(operation)) return 0;
  return wallet === "any" && chain === "chainless" ? 0 : TRUSTED_FOR_MS;
}

/** Says who asks, and that they may. */
async function admit(
  operation: AppOperation,
  request: AppRequest,
  params: object,
  services: AuthoriseServices,
  trustedForMs: number,
): Promise<Identified> {
  const admitBy = async (maxAgeMs: number) => {
    const identified = await identify(request, services, maxAgeMs);
    judge(identified.actor, operation, params);
    return identified;
  };
  try {
    return await admitBy(trustedForMs);
  } catch (error) {
    const isOutdated = trustedForMs > 0 && error instanceof RequestError && MAY_HAVE_CHANGED.has(error.code);
    if (isOutdated) return admitBy(0);
    throw error;
  }
}

/** @throws {@link RequestError} `CALLER_NOT_ALLOWED`, `OUT_OF_SCOPE` */
function judge(actor: Actor, operation: AppOperation, params: object): void {
  const { callers }: AppAccess = ACCESS[operation];
  if (!callers.includes(actor.kind)) {
    throw new RequestError("CALLER_NOT_ALLOWED", `${operation} is for ${callers.join(" and ")}, not for ${actor.kind}`);
  }
  // What a batch signs is judged one by one, where it is carried out.
  if (operation === "sign_batch") return;
  for (const each of judgedAs(operation, params)) checkScope(actor.scope, each, params);
}

interface Identified {
  readonly actor: Actor;
  /** Of a passkey's stamp: its counter is still to be judged. */
  readonly passkey: FoundPasskey | null;
}

async function identify(
  { appId, asker, body }: AppRequest,
  { apps, sessions, passkeys, nowMs }: AuthoriseServices,
  maxAgeMs: number,
): Promise<Identified> {
  const app = await apps.get(appId, maxAgeMs);
  if (asker.kind === "passkey") {
    const found = await passkeys.verify(appId, asker.stamp, body, app.passkeys, maxAgeMs);
    const { userId, user, passkey } = found;
    const scope = { ...WHOLE_SCOPE, operations: app.passkeys?.operations ?? null };
    return { actor: { kind: "passkey", appId, userId, user, passkey, scope }, passkey: found };
  }
  const { stamp } = asker;
  const publicKey = encodeHex(stamp.publicKey);
  const apiKey = app.apiKeys.find((each) => each.publicKey === publicKey && each.scheme === stamp.scheme);
  if (apiKey !== undefined && (apiKey.expiresAtMs === null || apiKey.expiresAtMs > nowMs())) {
    return { actor: { kind: "api-key", appId, keyId: publicKey, scope: apiKey.permissions }, passkey: null };
  }
  const { userId, user, session } = await sessions.find(appId, stamp, maxAgeMs);
  sessions.checkRules(app, user, session);
  return { actor: { kind: "session", appId, userId, user, session, publicKey, scope: session.scope }, passkey: null };
}

/** Whose request ids these are: nobody can use up another's. */
function askerOf(actor: Actor): string {
  switch (actor.kind) {
    case "session":
      return actor.session.sessionId;
    case "passkey":
      return `${actor.appId}/${actor.passkey.passkeyId}`;
    case "api-key":
      return `${actor.appId}/${actor.keyId}`;
  }
}
