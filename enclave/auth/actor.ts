/** Who asks, once that is proven. */
import type { AppOperation, CallerOf, Permissions, Scope } from "../../protocol/index.ts";
import type { User, UserPasskey, UserSession } from "../users/user.ts";

interface ActorBase {
  readonly appId: string;
  /** What it may do; judged by `scope.ts`. */
  readonly scope: Scope;
}

/** A user, by the key of a session. */
export interface SessionActor extends ActorBase {
  readonly kind: "session";
  readonly userId: string;
  /** As it stood when the request was authorised. */
  readonly user: User;
  readonly session: UserSession;
  /** That stamped, hex. */
  readonly publicKey: string;
}

/** A user, by a passkey. */
export interface PasskeyActor extends ActorBase {
  readonly kind: "passkey";
  readonly userId: string;
  /** As it stood when the request was authorised. */
  readonly user: User;
  readonly passkey: UserPasskey;
}

/** The app's own backend. */
export interface ApiKeyActor extends ActorBase {
  readonly kind: "api-key";
  readonly keyId: string;
  readonly scope: Permissions;
}

export type UserActor = SessionActor | PasskeyActor;
export type Actor = UserActor | ApiKeyActor;

/** Those whom an operation's entry in the table of access names. */
export type ActorOf<Name extends AppOperation> = Extract<Actor, { readonly kind: CallerOf<Name> }>;

/** The user's request, as what changes an account wants it. */
export function userRequestOf(actor: UserActor): { appId: string; userId: string; by: string } {
  const by = actor.kind === "session" ? actor.session.sessionId : actor.passkey.passkeyId;
  return { appId: actor.appId, userId: actor.userId, by };
}
