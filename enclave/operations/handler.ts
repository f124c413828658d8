import type { OperationName, Params, RequestEnvelope, Result, Stamp } from "../../protocol/index.ts";
import type { Apps } from "../apps/apps.ts";
import type { JwksCache } from "../auth/jwks-cache.ts";
import type { ReplayGuard } from "../auth/replay-guard.ts";
import type { Sessions } from "../auth/sessions.ts";
import type { Egress } from "../egress/egress.ts";
import type { Manifest } from "../manifest.ts";
import type { VaultRotation } from "../vault/vault-rotation.ts";
import type { Wallets } from "../wallets/wallets.ts";

/** What operations work with. */
export interface Services {
  readonly manifest: Manifest;
  readonly replays: ReplayGuard;
  readonly apps: Apps;
  readonly sessions: Sessions;
  readonly wallets: Wallets;
  readonly jwks: JwksCache;
  readonly egress: Egress;
  readonly rotation: VaultRotation;
  readonly nowMs: () => number;
}

/** An administrators' request, for this deployment, whose stamps are their keys' over its very bytes. */
export interface StampedRequest {
  readonly envelope: RequestEnvelope;
  readonly stamps: readonly [Stamp, ...Stamp[]];
}

/** A request inside an app, with the one stamp that it may have. */
export interface AppRequest {
  readonly envelope: RequestEnvelope;
  readonly stamp: Stamp;
  readonly appId: string;
}

/**
 * Carries out one operation. It authorises first, takes note of the request with the replay guard next, and acts last.
 *
 * @throws {@link RequestError}
 */
export type AdministratorsHandler<Name extends OperationName> = (
  request: StampedRequest,
  params: Params<Name>,
  services: Services,
) => Promise<Result<Name>>;

/** As {@link AdministratorsHandler}, inside an app. */
export type AppHandler<Name extends OperationName> = (
  request: AppRequest,
  params: Params<Name>,
  services: Services,
) => Promise<Result<Name>>;
