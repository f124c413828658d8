/**
 * Requests that wait for others to agree. What they agree to is a digest of the operation, its params, the app, whoever
 * asks and the policies that asked for it: approvers stamp that digest, and whoever asked collects by sending the very
 * same params again. A change of any of these is another digest, and nobody has agreed to that one.
 */
import { encodeHex, MAX_RECORDS_PER_PAGE, RequestError, type Result } from "../../protocol/index.ts";
import type { Actor } from "../auth/actor.ts";
import type { Events } from "../events/events.ts";
import { Turns } from "../users/turns.ts";
import type { Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type Records } from "../vault/records.ts";
import {
  type Approval,
  approvalRecords,
  checkOpen,
  concerns,
  digestOf,
  hasPlace,
  isMet,
  newApproval,
  notAnApprover,
  notFound,
  type Proposal,
  principalOf,
  type ReadApproval,
  required,
  standsFor,
  stateOf,
  viewOf,
} from "./approval.ts";
import type { Need } from "./limits.ts";
import { OpenApprovals } from "./open-approvals.ts";

/** Those in this enclave take turns; it is other enclaves that come between. */
const MAX_ATTEMPTS = 12;
/** Events are short; whose approvals they were stands in the approvers' own logs as well. */
const MAX_EVENT_TEXT = 2048;

export class Approvals {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #events: Events;
  readonly #nowMs: () => number;
  readonly #open: OpenApprovals;
  /** Of each who has something waiting. */
  readonly #turns = new Turns();

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly users: Users;
    readonly events: Events;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#users = options.users;
    this.#events = options.events;
    this.#nowMs = options.nowMs;
    this.#open = new OpenApprovals(options);
  }

  /**
   * Lets a request wait, or finds that it does.
   *
   * @returns The refusal that says so.
   * @throws {@link RequestError} `TOO_MANY_APPROVALS`; as {@link collectable}, and what records throw
   */
  async propose(proposal: Proposal, needs: readonly Need[]): Promise<RequestError> {
    const { actor, envelope } = proposal;
    const { appId } = actor;
    const requester = principalOf(actor);
    const value = newApproval(proposal, needs, this.#nowMs());
    const { digest, expiresAtMs } = value;
    const approvalId = this.#ids.derive("apr", [appId, requester, envelope.requestId, encodeHex(digest)]);
    const name = `${appId}/${approvalId}`;
    return await this.#turns.take(`${appId}/${requester}`, async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const standing = await this.#records.read(approvalRecords, name);
        if (standing !== null) return required(approvalId, checkOpen(standing.value, this.#nowMs()));
        const place = await this.#open.take(appId, requester, { approvalId, expiresAtMs });
        if (await this.#records.write([change(approvalRecords, name, null, value), place])) {
          return required(approvalId, value);
        }
      }
      throw keepsChanging();
    });
  }

  /**
   * What a request may collect.
   *
   * @throws {@link RequestError} `APPROVAL_…`
   */
  async collectable(proposal: Proposal, approvalId: string): Promise<ReadApproval> {
    const { actor, envelope } = proposal;
    const read = await this.#read(actor.appId, approvalId);
    const { value } = read;
    // Another's is as good as none.
    if (value.requester !== principalOf(actor)) throw notFound();
    if (Buffer.compare(value.digest, digestOf(proposal)) !== 0) {
      throw new RequestError("APPROVAL_MISMATCH", "approved were other params, or under another policy");
    }
    // Asked again because an answer was lost; its time may have passed meanwhile.
    if (value.collectedBy === envelope.requestId) return read;
    checkOpen(value, this.#nowMs());
    if (!value.needs.every((each) => isMet(each, value))) throw required(approvalId, value);
    return read;
  }

  /** Before anything is signed: it is done with then, and other requests do not collect it. @throws as {@link collectable} */
  async collect({ actor, envelope }: Proposal, read: ReadApproval): Promise<void> {
    const { value } = read;
    if (value.collectedBy === envelope.requestId) return;
    const approvalId = read.name.slice(read.name.lastIndexOf("/") + 1);
    const by = value.approvals.map((each) => each.by).join(" ");
    await this.#change(
      actor,
      approvalId,
      {
        kind: "approval-collected",
        details: { approvalId, digest: encodeHex(value.digest), approvers: by.slice(0, MAX_EVENT_TEXT) },
      },
      (present) => {
        if (present.collectedBy === envelope.requestId) return null;
        checkOpen(present, this.#nowMs());
        return { ...present, collectedBy: envelope.requestId };
      },
    );
  }

  /** @throws {@link RequestError} `APPROVAL_…`, `NOT_AN_APPROVER`, `ALREADY_APPROVED`, and what records throw */
  async approve(actor: Actor, requestId: string, approvalId: string, digest: Uint8Array): Promise<Approval> {
    const by = principalOf(actor);
    const event = { kind: "approval-given", details: { approvalId, digest: encodeHex(digest) } } as const;
    return this.#change(actor, approvalId, event, (present) => {
      const before = present.approvals.find((each) => each.by === by);
      const as = standsFor(actor, present);
      if (as.length === 0) throw notAnApprover();
      if (Buffer.compare(present.digest, digest) !== 0) {
        throw new RequestError("APPROVAL_MISMATCH", "not the digest of what waits under this id");
      }
      if (before?.requestId === requestId) return null;
      checkOpen(present, this.#nowMs());
      if (before !== undefined) throw new RequestError("ALREADY_APPROVED", "each approver counts once");
      return { ...present, approvals: [...present.approvals, { by, as, requestId, atMs: this.#nowMs() }] };
    });
  }

  /** By an approver, or by whoever asked. @throws as {@link approve} */
  async reject(actor: Actor, approvalId: string): Promise<Approval> {
    const by = principalOf(actor);
    const event = { kind: "approval-rejected", details: { approvalId } } as const;
    return this.#change(actor, approvalId, event, (present) => {
      if (present.requester !== by && standsFor(actor, present).length === 0) throw notAnApprover();
      if (present.rejectedBy === by) return null;
      checkOpen(present, this.#nowMs());
      return { ...present, rejectedBy: by };
    });
  }

  /** For an approver, or whoever asked. @throws {@link RequestError} `APPROVAL_NOT_FOUND`, and what records throw */
  async get(actor: Actor, approvalId: string): Promise<Approval> {
    const { value } = await this.#read(actor.appId, approvalId);
    if (!concerns(actor, value)) throw notFound();
    return value;
  }

  /**
   * One page of the app's, of which those are shown that wait and concern who asks; a page may be empty and not the last.
   * The parent can leave out what this boot has not seen.
   */
  async list(
    actor: Actor,
    after: string | null,
  ): Promise<{
    readonly approvals: readonly { readonly approvalId: string; readonly approval: Approval }[];
    readonly next: string | null;
  }> {
    return this.#page(
      actor.appId,
      after,
      (each) => stateOf(each, this.#nowMs()) === "waiting" && concerns(actor, each),
    );
  }

  /** As {@link list}: what a user has asked for or agreed to, whatever became of it. */
  heldOn(appId: string, userId: string, after: string | null): ReturnType<Approvals["list"]> {
    return this.#page(
      appId,
      after,
      ({ requester, approvals, rejectedBy }) =>
        requester === userId || rejectedBy === userId || approvals.some(({ by }) => by === userId),
    );
  }

  async #page(
    appId: string,
    after: string | null,
    isShown: (approval: Approval) => boolean,
  ): ReturnType<Approvals["list"]> {
    const under = `${appId}/`;
    const page = await this.#records.list(approvalRecords, under, after === null ? null : under + after);
    const named = page.map(({ name, value }) => ({
      approvalId: name.slice(name.lastIndexOf("/") + 1),
      approval: value,
    }));
    const last = named.at(-1);
    return {
      approvals: named.filter(({ approval }) => isShown(approval)),
      next: last === undefined || page.length < MAX_RECORDS_PER_PAGE ? null : last.approvalId,
    };
  }

  /** Does away with what a user has asked for. What they agreed to of others' stays those others'. */
  async erase(appId: string, userId: string): Promise<void> {
    for (let after: string | null = null; ; ) {
      const page: readonly ReadApproval[] = await this.#records.list(approvalRecords, `${appId}/`, after);
      const own = page.filter(({ value }) => value.requester === userId);
      const nameOf = ({ name }: ReadApproval) => name.slice(approvalRecords.prefix.length);
      const changes = own.map((read) => change(approvalRecords, nameOf(read), read, undefined));
      if (changes.length > 0 && !(await this.#records.write(changes))) {
        throw keepsChanging();
      }
      const last = page.at(-1);
      if (last === undefined || page.length < MAX_RECORDS_PER_PAGE) break;
      after = nameOf(last);
    }
    const places = await this.#open.forget(appId, userId);
    if (places.length > 0 && !(await this.#records.write(places))) throw keepsChanging();
  }

  view(approvalId: string, value: Approval): Result<"get_approval"> {
    return viewOf(approvalId, value, this.#nowMs());
  }

  /** Of users with an event in their log. @param decide - Null where it is so already. */
  async #change(
    actor: Actor,
    approvalId: string,
    event: Omit<Parameters<Events["add"]>[3], "by">,
    decide: (present: Approval) => Approval | null,
  ): Promise<Approval> {
    const { appId } = actor;
    const { requester } = (await this.#read(appId, approvalId)).value;
    return await this.#turns.take(`${appId}/${requester}`, async () => {
      if (actor.kind !== "api-key") {
        const by = actor.kind === "session" ? actor.session.sessionId : actor.passkey.passkeyId;
        return await this.#users.change(appId, actor.userId, async (user) => {
          const { next, changes } = await this.#changesOf(appId, approvalId, decide);
          if (changes.length === 0) return { kind: "leave", result: next };
          const added = this.#events.add(appId, actor.userId, user, { ...event, by });
          return { kind: "write", user: added.user, also: [added.also, ...changes], result: next };
        });
      }
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const { next, changes } = await this.#changesOf(appId, approvalId, decide);
        if (changes.length === 0 || (await this.#records.write(changes))) return next;
      }
      throw keepsChanging();
    });
  }

  /** With the place that it gives back, if it is done with. */
  async #changesOf(
    appId: string,
    approvalId: string,
    decide: (present: Approval) => Approval | null,
  ): Promise<{ readonly next: Approval; readonly changes: readonly Change[] }> {
    const read = await this.#read(appId, approvalId);
    const next = decide(read.value);
    if (next === null) return { next: read.value, changes: [] };
    const made = change(approvalRecords, `${appId}/${approvalId}`, read, next);
    const freed = hasPlace(next) ? [] : await this.#open.giveBack(appId, next.requester, approvalId);
    return { next, changes: [made, ...freed] };
  }

  async #read(appId: string, approvalId: string): Promise<ReadApproval> {
    const read = await this.#records.read(approvalRecords, `${appId}/${approvalId}`);
    if (read === null) throw notFound();
    return read;
  }
}

function keepsChanging(): RequestError {
  return new RequestError("RECORD_CONFLICT", "an approval keeps changing: try again");
}
