/**
 * Policies that users give themselves and their wallets. They only ever take from what the app allows, so the first one
 * may come from any session; to loosen one takes what a stolen session does not have (docs/policies.md, "Who may loosen
 * what").
 */
import { isDeepStrictEqual } from "node:util";
import { encodeHex, type Policy, RequestError, type Rule } from "../../protocol/index.ts";
import { type UserActor, userRequestOf } from "../auth/actor.ts";
import { confirmedOf } from "../auth/second-factors.ts";
import type { Events } from "../events/events.ts";
import type { User, UserPolicy } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import type { Change } from "../vault/records.ts";
import { isNothing, isPinned, NOTHING_ALLOWED, type PolicyDocuments, type PolicyPin } from "./documents.ts";

/** A user's own, and one for each of so many wallets: they stand in the user's record. */
const MAX_POLICIES_PER_USER = 32;
/** With those that allow nothing, such as of wallets that are gone: they have no document. */
const MAX_PINNED_PER_USER = 64;

export class UserPolicies {
  readonly #users: Users;
  readonly #events: Events;
  readonly #documents: PolicyDocuments;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly users: Users;
    readonly events: Events;
    readonly documents: PolicyDocuments;
    readonly nowMs: () => number;
  }) {
    this.#users = options.users;
    this.#events = options.events;
    this.#documents = options.documents;
    this.#nowMs = options.nowMs;
  }

  /**
   * Puts a policy in the place of another, or of none.
   *
   * @param of - `user`, or a wallet's id.
   * @returns The new version; 0 where none is left.
   * @throws {@link RequestError} `POLICY_VERSION_CONFLICT`, `POLICY_GUARDED`, `TOO_MANY_POLICIES`, `INVALID_PARAMS`, and what
   *   changing a user throws
   */
  async set(actor: UserActor, of: string, policy: Policy | null, expectedVersion: number): Promise<number> {
    const { appId, userId, by } = userRequestOf(actor);
    const place = placeOfUser(appId, userId, of);
    return this.#users.change(appId, userId, async (user) => {
      const present = policyOf(user, of);
      const version = present?.version ?? 0;
      // Asked for again after the answer was lost: what it asks for stands there.
      const isMade = isPinned(policy, present?.pin ?? null);
      if (isMade && (present === null || version === expectedVersion + 1)) return { kind: "leave", result: version };
      if (version !== expectedVersion) {
        throw new RequestError("POLICY_VERSION_CONFLICT", `it has version ${version}: read it again, decide again`);
      }
      if (present !== null) {
        const { document } = await this.#documents.get(place, present.pin);
        if (!isTightened(document, policy) && !isGuardMet(actor, user, present)) throw guarded();
      }
      const others = (user.policies ?? []).filter((each) => each !== present);
      const stored = others.filter(({ pin }) => !isNothing(pin));
      if (policy !== null && (others.length >= MAX_PINNED_PER_USER || stored.length >= MAX_POLICIES_PER_USER)) {
        throw new RequestError("TOO_MANY_POLICIES", `a user has at most ${MAX_POLICIES_PER_USER} policies`);
      }
      const made = await this.#changesOf(place, present, policy);
      // Since the first of them: to tighten one does not make what was added meanwhile count.
      const guardedSinceMs = present?.guardedSinceMs ?? this.#nowMs();
      const next = made.pin === null ? null : { of, pin: made.pin, version: version + 1, guardedSinceMs };
      const details = {
        of,
        version: String(next?.version ?? 0),
        digest: next === null ? "" : encodeHex(next.pin.digest),
      };
      const changed = { ...user, policies: next === null ? others : [...others, next] };
      const added = this.#events.add(appId, userId, changed, { kind: "policy-set", by, details });
      return { kind: "write", user: added.user, also: [added.also, ...made.changes], result: next?.version ?? 0 };
    });
  }

  /**
   * Takes a policy away for administrators: of users who have lost what would loosen it.
   *
   * @returns False if there was none.
   * @throws {@link RequestError} what changing a user throws
   */
  async reset(appId: string, userId: string, of: string): Promise<boolean> {
    if ((await this.#users.get(appId, userId)) === null) return false;
    return this.#users.change(appId, userId, async (user) => {
      const present = policyOf(user, of);
      if (present === null) return { kind: "leave", result: false };
      const changes = await this.#documents.remove(placeOfUser(appId, userId, of), present.pin);
      const next = { ...user, policies: (user.policies ?? []).filter((each) => each !== present) };
      const event = { kind: "policy-reset", by: "administrators", details: { of } } as const;
      const added = this.#events.add(appId, userId, next, event);
      return { kind: "write", user: added.user, also: [added.also, ...changes], result: true };
    });
  }

  /**
   * What is to be written with the deletion of a wallet: nothing is signed under its id from then on. To leave nothing in the
   * policy's place would loosen it, for whoever has the parent bring the wallet back (docs/decisions/0645).
   *
   * @throws {@link RequestError} what reading a policy throws
   */
  async close(
    { appId, userId }: { readonly appId: string; readonly userId: string },
    user: User,
    walletId: string,
  ): Promise<{ readonly user: User; readonly changes: readonly Change[] }> {
    const present = policyOf(user, walletId);
    if (present === null) return { user, changes: [] };
    const changes = await this.#documents.remove(placeOfUser(appId, userId, walletId), present.pin);
    const closed = { ...present, pin: NOTHING_ALLOWED, version: present.version + 1 };
    const policies = (user.policies ?? []).map((each) => (each === present ? closed : each));
    return { user: { ...user, policies }, changes };
  }

  /** @throws {@link RequestError} what reading a policy throws */
  async get(actor: UserActor, of: string): Promise<{ readonly policy: Policy | null; readonly version: number }> {
    const present = policyOf(actor.user, of);
    if (present === null) return { policy: null, version: 0 };
    const { document } = await this.#documents.get(placeOfUser(actor.appId, actor.userId, of), present.pin);
    return { policy: document, version: present.version };
  }

  /** The documents of somebody who is to be erased: nothing of theirs is signed from then on. */
  async erase(appId: string, userId: string, { policies }: User): Promise<void> {
    for (const { of, pin } of policies ?? []) await this.#documents.erase(placeOfUser(appId, userId, of), pin);
  }

  async #changesOf(
    place: string,
    present: UserPolicy | null,
    policy: Policy | null,
  ): Promise<{ readonly pin: PolicyPin | null; readonly changes: readonly Change[] }> {
    const removed = present === null ? [] : await this.#documents.remove(place, present.pin);
    if (policy === null) return { pin: null, changes: removed };
    const { pin, changes } = await this.#documents.store(place, policy);
    // The very same document again, under another version: it is written, and not done away with.
    return { pin, changes: [...removed.filter((each) => !changes.some(({ name }) => name === each.name)), ...changes] };
  }
}

/** @param of - `user`, or a wallet's id. */
export function policyOf({ policies }: User, of: string): UserPolicy | null {
  return policies?.find((each) => each.of === of) ?? null;
}

export function placeOfUser(appId: string, userId: string, of: string): string {
  return `${appId}/${userId}/${of}`;
}

/** Whether nothing can be allowed that was not: all that denied still does, and nothing allows that did not. */
function isTightened(before: Policy, after: Policy | null): boolean {
  if (after === null) return false;
  const includes = (policy: Policy, rule: Rule) =>
    policy.rules.some((each) => each.id === rule.id && isSame(each, rule));
  return (
    before.rules.every((rule) => rule.effect === "allow" || includes(after, rule)) &&
    after.rules.every((rule) => rule.effect === "deny" || includes(before, rule))
  );
}

/** What is written for people apart. An id is none of that: limits are counted under it. */
function isSame({ note: _, ...first }: Rule, { note: __, ...second }: Rule): boolean {
  return isDeepStrictEqual(first, second);
}

/** The code was checked where the request was let in, from everyone who has a second factor. */
function isGuardMet(actor: UserActor, user: User, { guardedSinceMs }: UserPolicy): boolean {
  if (actor.kind === "passkey" && actor.passkey.createdAtMs <= guardedSinceMs) return true;
  const confirmedAtMs = confirmedOf(user)?.confirmedAtMs ?? null;
  return confirmedAtMs !== null && confirmedAtMs <= guardedSinceMs;
}

function guarded(): RequestError {
  return new RequestError(
    "POLICY_GUARDED",
    "to loosen a policy takes a passkey or one-time passwords that were there before it, or administrators",
  );
}
