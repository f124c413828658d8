/** Who asks, once that is proven. */
import type { AppOperation, CallerOf, Permissions, Scope } from "../../protocol/index.ts";
import type { User, UserSession } from "../users/user.ts";

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
}

/** The app's own backend. */
export interface ApiKeyActor extends ActorBase {
  readonly kind: "api-key";
  readonly keyId: string;
  readonly scope: Permissions;
}

export type Actor = SessionActor | ApiKeyActor;

/** Those whom an operation's entry in the table of access names. */
export type ActorOf<Name extends AppOperation> = Extract<Actor, { readonly kind: CallerOf<Name> }>;
