/**
 * Which logins reach a user. A user links further identities while logged in, and any of them logs into the same user;
 * an identity that somebody has is never taken over, not even from an account that seems to be empty: whether it has
 * wallets is for the parent to show or hide.
 */
import { RequestError } from "../../protocol/index.ts";
import type { Events } from "../events/events.ts";
import { identityRecords, type LinkedIdentity } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import { type Change, change, type Records } from "../vault/records.ts";
import type { UserRequest } from "./second-factors.ts";
import type { VerifiedLogin } from "./verify-jwt.ts";

const MAX_IDENTITIES_PER_USER = 8;

export class Identities {
  readonly #records: Records;
  readonly #users: Users;
  readonly #events: Events;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly records: Records;
    readonly users: Users;
    readonly events: Events;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#users = options.users;
    this.#events = options.events;
    this.#nowMs = options.nowMs;
  }

  /**
   * Links the identity of a login that was verified, for the key that stamped the request.
   *
   * @throws {@link RequestError} `IDENTITY_TAKEN`, `TOO_MANY_IDENTITIES`, and what changing a user throws
   */
  async link({ appId, userId, by }: UserRequest, { issuer, subject }: VerifiedLogin): Promise<LinkedIdentity> {
    const identityId = this.#users.identityIdOf(appId, { issuer, subject });
    const name = `${appId}/${identityId}`;
    return this.#users.change(appId, userId, async (user) => {
      const own = user.identities.find((each) => each.identityId === identityId);
      // Asked again because an answer was lost.
      if (own !== undefined) return { kind: "leave", result: own };
      const link = await this.#records.read(identityRecords, name);
      if (link !== null && link.value.userId !== userId && (await this.#has(appId, link.value.userId, identityId))) {
        throw new RequestError("IDENTITY_TAKEN", "this identity belongs to another user: it cannot be linked as well");
      }
      if (user.identities.length >= MAX_IDENTITIES_PER_USER) {
        throw new RequestError("TOO_MANY_IDENTITIES", `a user has at most ${MAX_IDENTITIES_PER_USER} identities`);
      }
      const linked = { identityId, issuer, subject, linkedAtMs: this.#nowMs() };
      const next = { ...user, identities: [...user.identities, linked] };
      const added = this.#events.add(appId, userId, next, { kind: "identity-linked", by, details: detailsOf(linked) });
      const also = [change(identityRecords, name, link, { userId }), added.also];
      return { kind: "write", user: added.user, also, result: linked };
    });
  }

  /**
   * Takes an identity away, and ends the sessions that it began. The last one stays, whatever passkeys there are: an app
   * may stop taking passkeys, and its users must not be shut out by that.
   *
   * @throws {@link RequestError} `IDENTITY_NOT_FOUND`, `LAST_IDENTITY`, and what changing a user throws
   */
  async unlink({ appId, userId, by }: UserRequest, identityId: string): Promise<void> {
    const name = `${appId}/${identityId}`;
    await this.#users.change<void>(appId, userId, async (user) => {
      const identity = user.identities.find((each) => each.identityId === identityId);
      if (identity === undefined) throw new RequestError("IDENTITY_NOT_FOUND", "this user has no such identity");
      const identities = user.identities.filter((each) => each !== identity);
      if (identities.length === 0) throw new RequestError("LAST_IDENTITY", "the last identity cannot be unlinked");
      const sessions = user.sessions.filter((session) => session.identityId !== identityId);
      const next = { ...user, identities, sessions };
      const event = { kind: "identity-unlinked", by, details: detailsOf(identity) } as const;
      const added = this.#events.add(appId, userId, next, event);
      const link = await this.#records.read(identityRecords, name);
      const isLed = link?.value.userId === userId;
      const links = isLed ? [change(identityRecords, name, link, undefined)] : [];
      return { kind: "write", user: added.user, also: [...links, added.also], result: undefined };
    });
  }

  /** The records that lead to a user by its identities: whoever erases the user deletes them as well. */
  async forget(appId: string, userId: string, identities: readonly LinkedIdentity[]): Promise<Change[]> {
    const names = identities.map(({ identityId }) => `${appId}/${identityId}`);
    const read = await Promise.all(names.map((name) => this.#records.read(identityRecords, name)));
    return names.flatMap((name, at) => {
      const record = read[at] ?? null;
      return record?.value.userId === userId ? [change(identityRecords, name, record, undefined)] : [];
    });
  }

  /** The user's own list decides; a link that it contradicts is an old one. */
  async #has(appId: string, userId: string, identityId: string): Promise<boolean> {
    const user = await this.#users.get(appId, userId, 0);
    if (user === null) throw new RequestError("RECORD_ROLLED_BACK", "a user who was here is gone");
    return user.identities.some((each) => each.identityId === identityId);
  }
}

function detailsOf({ identityId, issuer, subject }: LinkedIdentity): Readonly<Record<string, string>> {
  return { identityId, issuer, subject };
}
