import type {
  AdministratorsOperation,
  AppOperation,
  LoginOperation,
  Params,
  RequestEnvelope,
  Result,
  Stamp,
  WebauthnStamp,
} from "../../protocol/index.ts";
import type { Apps } from "../apps/apps.ts";
import type { ActorOf } from "../auth/actor.ts";
import type { AppRequest } from "../auth/authorise.ts";
import type { Identities } from "../auth/identities.ts";
import type { JwksCache } from "../auth/jwks-cache.ts";
import type { OnceForAll } from "../auth/once-for-all.ts";
import type { Passkeys } from "../auth/passkeys.ts";
import type { ReplayGuard } from "../auth/replay-guard.ts";
import type { SecondFactors } from "../auth/second-factors.ts";
import type { Sessions } from "../auth/sessions.ts";
import type { Custody } from "../custody/custody.ts";
import type { Egress } from "../egress/egress.ts";
import type { Events } from "../events/events.ts";
import type { Manifest } from "../manifest.ts";
import type { Approvals } from "../policy/approvals.ts";
import type { Policies } from "../policy/authorise.ts";
import type { UserPolicies } from "../policy/user-policies.ts";
import type { Users } from "../users/users.ts";
import type { VaultRotation } from "../vault/vault-rotation.ts";
import type { Imports } from "../wallets/imports.ts";
import type { Keystores } from "../wallets/keystore-v3.ts";
import type { Wallets } from "../wallets/wallets.ts";

/** What operations work with. */
export interface Services {
  readonly manifest: Manifest;
  readonly replays: ReplayGuard;
  /** With the longer window that several people need. */
  readonly administratorsReplays: ReplayGuard;
  readonly onceForAll: OnceForAll;
  readonly apps: Apps;
  readonly users: Users;
  readonly sessions: Sessions;
  readonly passkeys: Passkeys;
  readonly secondFactors: SecondFactors;
  readonly identities: Identities;
  readonly events: Events;
  readonly wallets: Wallets;
  readonly custody: Custody;
  readonly imports: Imports;
  readonly keystores: Keystores;
  readonly policies: Policies;
  readonly userPolicies: UserPolicies;
  readonly approvals: Approvals;
  readonly jwks: JwksCache;
  readonly egress: Egress;
  readonly rotation: Pick<VaultRotation, "begin" | "currentStatus" | "follow" | "beforeSealing">;
  readonly nowMs: () => number;
}

/** An administrators' request, for this deployment, whose stamps are their keys' over its very bytes. */
export interface StampedRequest {
  readonly envelope: RequestEnvelope;
  readonly stamps: readonly [Stamp, ...Stamp[]];
}

/**
 * Carries out one operation of the administrators'. It authorises first, takes note of the request with the replay guard
 * next, and acts last.
 *
 * @throws {@link RequestError}
 */
export type AdministratorsHandler<Name extends AdministratorsOperation> = (
  request: StampedRequest,
  params: Params<Name>,
  services: Services,
) => Promise<Result<Name>>;

/** A request of whoever has no session yet. */
export interface LoginRequest {
  readonly envelope: RequestEnvelope;
  readonly appId: string;
  readonly body: Uint8Array;
  readonly isSealed: boolean;
  /** Of the key that is to get the session; verified. */
  readonly stamp: Stamp;
  /** Of the passkey that logs in; not verified yet. Null where something else does. */
  readonly passkey: WebauthnStamp | null;
}

/** As {@link AdministratorsHandler}, for whoever has no session yet. */
export type LoginHandler<Name extends LoginOperation> = (
  request: LoginRequest,
  params: Params<Name>,
  services: Services,
) => Promise<Result<Name>>;

/**
 * Carries out one operation inside an app, for somebody who was authorised.
 *
 * @throws {@link RequestError}
 */
export type AppHandler<Name extends AppOperation> = (
  request: AppRequest & { readonly actor: ActorOf<Name> },
  params: Params<Name>,
  services: Services,
) => Promise<Result<Name>>;
