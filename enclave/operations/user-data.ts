/** A user's right to what is held on them, and to its end (GDPR, articles 15, 17 and 20). */
import { type HeldOnUser, RequestError } from "../../protocol/index.ts";
import type { UserActor } from "../auth/actor.ts";
import { ownerOf } from "../auth/owner.ts";
import { describe } from "../auth/passkeys.ts";
import type { User } from "../users/user.ts";
import type { AppHandler, Services } from "./handler.ts";

/** A page has so much or a little more: whoever shows a one-time password with each has few of them to show. */
const PAGE_BYTES = 256 * 1024;
/** What would make it more than this waits for the next page, or an answer could be greater than one may be. */
const MAX_PAGE_BYTES = 512 * 1024;
/** Of records that were looked through for it, since those of an app's approvals that are the user's may be few. */
const MAX_PAGES = 64;

export const exportUser: AppHandler<"export_user"> = async ({ actor }, { after }, services) => {
  const items: HeldOnUser[] = [];
  let [bytes, pages] = [0, 0];
  for (let at: string | null = after ?? "user/"; ; ) {
    const page: Page = await pageAt(at, actor, services);
    bytes += Buffer.byteLength(JSON.stringify(page.items));
    if (items.length > 0 && bytes > MAX_PAGE_BYTES) return { items, next: at };
    items.push(...page.items);
    pages += 1;
    if (page.next === null || bytes >= PAGE_BYTES || pages >= MAX_PAGES) return { items, next: page.next };
    at = page.next;
  }
};

interface Page {
  readonly items: readonly HeldOnUser[];
  readonly next: string | null;
}

type HeldIn = Pick<Services, "wallets" | "events" | "policies" | "userPolicies" | "approvals">;

async function pageAt(
  at: string,
  actor: UserActor,
  { wallets, events, policies, userPolicies, approvals }: HeldIn,
): Promise<Page> {
  const { appId, userId, user } = actor;
  const [part, position = ""] = at.split("/");
  const after = position === "" ? null : position;
  if (part === "user") return { items: [userItem(userId, user)], next: "policies/0" };
  if (part === "policies") {
    const next = Number(position) + 1;
    const held = user.policies?.[next - 1];
    if (held === undefined) return { items: [], next: "wallets/" };
    const { of, version, guardedSinceMs } = held;
    const { policy } = await userPolicies.get(actor, of);
    const items = policy === null ? [] : [{ kind: "policy" as const, of, version, guardedSinceMs, policy }];
    return { items, next: `policies/${next}` };
  }
  if (part === "wallets") {
    const page = await wallets.list({ appId, userId }, after);
    const last = page.wallets.at(-1)?.walletId;
    return {
      items: page.wallets.map((wallet) => ({ kind: "wallet", wallet })),
      next: page.more && last !== undefined ? `wallets/${last}` : "limits/",
    };
  }
  if (part === "limits") {
    const { limits, more } = await policies.counted(appId, userId, after);
    const last = limits.at(-1)?.limitId;
    const items = limits.map((each) => ({ kind: "limit" as const, ...each }));
    return { items, next: more && last !== undefined ? `limits/${last}` : "approvals/" };
  }
  if (part === "approvals") {
    const { approvals: held, next } = await approvals.heldOn(appId, userId, after);
    const items = held.map(({ approvalId, approval }) => {
      return { kind: "approval" as const, approval: approvals.view(approvalId, approval) };
    });
    return { items, next: next === null ? "events/0" : `approvals/${next}` };
  }
  const from = Number(position);
  const page = await events.list(appId, userId, user, from);
  return {
    items: page.events.map((event) => ({ kind: "event", event })),
    next: page.more ? `events/${from + page.events.length}` : null,
  };
}

/**
 * Wallets go first and the user last: whatever ends this halfway leaves somebody who can ask again, and who has nothing to
 * sign with. What was counted of them goes only after that, or a thief of their session could have an erasure fail, again
 * and again, and each limit begin anew. Nothing of the user's changes meanwhile, since all of it would change with the
 * user's record.
 */
export const eraseUser: AppHandler<"erase_user"> = async ({ actor }, params, services) => {
  const { appId, userId } = actor;
  if (params.userId !== userId) throw new RequestError("INVALID_PARAMS", "userId: not the one who asks");
  const { users, passkeys, identities, wallets, events, userPolicies, policies, approvals } = services;
  const records = await users.change(appId, userId, async (user) => {
    const erased = await wallets.erase(ownerOf(actor));
    await policies.erase(appId, userId);
    await approvals.erase(appId, userId);
    await userPolicies.erase(appId, userId, user);
    return {
      kind: "erase",
      result: {
        wallets: erased,
        events: await events.erase(appId, userId),
        identities: user.identities.length,
        sessions: user.sessions.length,
        passkeys: user.passkeys.length,
      },
      also: [
        ...(await identities.forget(appId, userId, user.identities)),
        ...(await passkeys.forget(appId, userId, user.passkeys)),
      ],
    };
  });
  return events.receiptOf({ appId, userId, records });
};

function userItem(userId: string, user: User): HeldOnUser {
  const { identities, sessions, loginsAfterMs, passkeys, secondFactor, events } = user;
  return {
    kind: "user",
    userId,
    identities,
    sessions: sessions.map(({ sessionId, identityId, createdAtMs, expiresAtMs, scope }) => {
      return { sessionId, identityId, createdAtMs, expiresAtMs, scope };
    }),
    loginsAfterMs,
    passkeys: passkeys.map(describe),
    secondFactor:
      secondFactor === null
        ? null
        : {
            confirmedAtMs: secondFactor.confirmedAtMs,
            recoveryCodesLeft: secondFactor.recoveryCodes.length,
            requiredFor: [...secondFactor.requiredFor],
            failures: secondFactor.failures,
          },
    events: events.count,
  };
}
