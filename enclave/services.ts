/** Makes all that operations work with, out of an open vault: for the enclave, and for what measures it without one. */
import { setTimeout as sleep } from "node:timers/promises";
import { ADMINISTRATORS_WINDOW_MS, REQUEST_WINDOW_MS } from "../protocol/index.ts";
import { Apps } from "./apps/apps.ts";
import { Identities } from "./auth/identities.ts";
import { JwksCache } from "./auth/jwks-cache.ts";
import { OnceForAll } from "./auth/once-for-all.ts";
import { Passkeys } from "./auth/passkeys.ts";
import { MAX_REMEMBERED, MAX_WAITING, ReplayGuard } from "./auth/replay-guard.ts";
import { SecondFactors } from "./auth/second-factors.ts";
import { Sessions } from "./auth/sessions.ts";
import { Custody } from "./custody/custody.ts";
import type { Egress } from "./egress/egress.ts";
import { eventKeyOf } from "./events/event-key.ts";
import { Events } from "./events/events.ts";
import type { AttestedKms } from "./kms/attested-kms.ts";
import type { Log } from "./log.ts";
import type { Manifest } from "./manifest.ts";
import type { Randomness } from "./nsm/randomness.ts";
import type { Services } from "./operations/handler.ts";
import { Approvals } from "./policy/approvals.ts";
import { Policies } from "./policy/authorise.ts";
import { PolicyDocuments } from "./policy/documents.ts";
import { Limits } from "./policy/limits.ts";
import { UserPolicies } from "./policy/user-policies.ts";
import { Users } from "./users/users.ts";
import type { Vault } from "./vault/open-vault.ts";
import { VaultRotation } from "./vault/vault-rotation.ts";
import { type AttestImport, Imports } from "./wallets/imports.ts";
import { Keystores } from "./wallets/keystore-v3.ts";
import { Wallets } from "./wallets/wallets.ts";

/** Remembered for an hour; a quarter of them at most, since administrators are one asker. */
const MAX_ADMINISTRATORS_REQUESTS = 40_000;

export interface ServicesOptions {
  readonly manifest: Manifest;
  readonly vault: Pick<Vault, "records" | "ids">;
  readonly randomness: Randomness;
  readonly egress: Egress;
  /** Of an identity provider's key set. */
  readonly fetchJson: (url: URL) => Promise<unknown>;
  readonly attestImport: AttestImport;
  /** When this boot first knew the time. */
  readonly bootedAtMs: number;
  /** The trusted clock. */
  readonly nowMs: () => number;
  /** Of what may be remembered and kept: 1 unless other threads do so too. */
  readonly part?: number;
  /** The same of request ids, if it is another. */
  readonly requestIdsPart?: number;
}

export interface MainServicesOptions extends ServicesOptions {
  readonly vault: Vault;
  readonly kms: AttestedKms;
  readonly log: Log;
  /** Of the enclave's end: what works in the background stops. */
  readonly signal: AbortSignal;
}

export function makeServices(options: MainServicesOptions): Services {
  const { vault, kms, manifest, randomness, nowMs, log, signal } = options;
  const rotation = new VaultRotation({
    ...{ vault, kms, manifest, randomness, nowMs, log, signal },
    sleep: (ms) => sleep(ms, undefined, { ref: false }),
  });
  return makeServicesAround(rotation, options);
}

/** For any thread. The vault is rotated by one. */
export function makeServicesAround(rotation: Services["rotation"], options: ServicesOptions): Services {
  const { manifest, vault, randomness, egress, bootedAtMs, nowMs, part = 1, requestIdsPart = part } = options;
  const { records, ids } = vault;
  const documents = new PolicyDocuments(records, part);
  const apps = new Apps({ records, ids, documents, nowMs, part });
  const users = new Users({ records, ids, randomness, nowMs, part });
  const events = new Events({ records, key: eventKeyOf(ids), deployment: manifest.deployment, nowMs });
  const wallets = new Wallets({ records, ids, users, events, randomness, nowMs, part });
  const approvals = new Approvals({ records, ids, users, events, nowMs });
  const limits = new Limits({ records, ids, nowMs, sleep });
  return {
    manifest,
    egress,
    replays: new ReplayGuard(
      ...([{ nowMs, sleep }, bootedAtMs, Math.ceil(MAX_REMEMBERED * requestIdsPart), REQUEST_WINDOW_MS] as const),
      // Not in parts: each thread has places of its own for what is under way, and these are half of them.
      MAX_WAITING,
    ),
    administratorsReplays: new ReplayGuard(
      ...([{ nowMs, sleep }, bootedAtMs, MAX_ADMINISTRATORS_REQUESTS, ADMINISTRATORS_WINDOW_MS] as const),
    ),
    onceForAll: new OnceForAll({ records, ids }),
    apps,
    users,
    sessions: new Sessions({ records, ids, users, nowMs }),
    passkeys: new Passkeys({ records, ids, users, events, nowMs }),
    secondFactors: new SecondFactors({ users, events, randomness, nowMs }),
    identities: new Identities({ records, users, events, nowMs }),
    events,
    wallets,
    custody: new Custody({ records, ids, users, events, randomness, nowMs }),
    imports: new Imports({ wallets, randomness, attest: options.attestImport, nowMs }),
    keystores: new Keystores({ randomness }),
    policies: new Policies({ apps, users, documents, approvals, limits, nowMs }),
    userPolicies: new UserPolicies({ users, events, documents, nowMs }),
    approvals,
    jwks: new JwksCache({ fetchJson: options.fetchJson, nowMs }),
    rotation,
    nowMs,
  };
}
