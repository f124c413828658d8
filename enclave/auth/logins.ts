/** By which of a user's logins a request comes, how long ago that was, and since when it is theirs. */
import { RequestError } from "../../protocol/index.ts";
import type { User } from "../users/user.ts";
import type { Actor, UserActor } from "./actor.ts";

/** A login is fresh for so long: time to log in, read what is asked, and answer. */
export const FRESH_LOGIN_MS = 5 * 60_000;
/** A login that was added later recovers nothing for so long: the owner sees the event, and takes it away again. */
const NEW_LOGIN_WAIT_MS = 24 * 60 * 60_000;

export interface Login {
  /** Of the identity or the passkey. */
  readonly loginId: string;
  /** When it logged in; null for a session that took another one's place, which is no login. */
  readonly atMs: number | null;
}

/** A passkey that stamps a request logs in with it: it was there for this very request. */
export function loginOf(actor: UserActor, nowMs: number): Login {
  if (actor.kind === "passkey") return { loginId: actor.passkey.passkeyId, atMs: nowMs };
  const { identityId, createdAtMs, issuedAtMs = createdAtMs, replaces } = actor.session;
  // An issuer's clock may be ahead of ours.
  return { loginId: identityId, atMs: replaces === null ? Math.min(createdAtMs, issuedAtMs) : null };
}

/**
 * Passkeys that were registered before then are not the doing of whoever has the session that asks. A session that came by
 * a login which was added later, and a passkey itself, may be: whoever stole a session can have added both, and only what
 * has stood in the events for a while is the owner's.
 */
export function notAddedSinceMs(actor: Actor, nowMs: number): number {
  if (actor.kind === "api-key") return nowMs;
  if (actor.kind === "passkey") return nowMs - NEW_LOGIN_WAIT_MS;
  const { createdAtMs, identityId } = actor.session;
  return identityId === actor.user.firstIdentityId ? createdAtMs : Math.min(createdAtMs, nowMs - NEW_LOGIN_WAIT_MS);
}

/** @throws {@link RequestError} `LOGIN_NOT_FRESH` */
export function checkFresh({ atMs }: Login, nowMs: number): void {
  if (atMs !== null && atMs + FRESH_LOGIN_MS > nowMs) return;
  throw new RequestError(
    "LOGIN_NOT_FRESH",
    `log in again: this needs a login of the last ${FRESH_LOGIN_MS / 60_000} min`,
  );
}

/**
 * @param sinceMs - Logins that were there by then have waited.
 * @throws {@link RequestError} `LOGIN_TOO_NEW`
 */
export function checkSettled({ loginId }: Login, user: User, sinceMs: number, nowMs: number): void {
  const addedAtMs =
    user.identities.find(({ identityId }) => identityId === loginId)?.linkedAtMs ??
    user.passkeys.find(({ passkeyId }) => passkeyId === loginId)?.createdAtMs;
  if (addedAtMs !== undefined && (addedAtMs <= sinceMs || addedAtMs + NEW_LOGIN_WAIT_MS <= nowMs)) return;
  throw new RequestError(
    "LOGIN_TOO_NEW",
    "this login was added after the wallet was made: it can recover it a day later",
  );
}
