/**
 * Requests that wait for others to agree. What they agree to is a digest of the operation, its params, the app, whoever
 * asks and the policies that asked for it: approvers stamp that digest, and whoever asked collects by sending the very
 * same params again. A change of any of these is another digest, and nobody has agreed to that one.
 */
import { createHash } from "node:crypto";
import {
  type AllowRule,
  bytesOf,
  encodeHex,
  type JsonValue,
  MAX_RECORDS_PER_PAGE,
  type RequestEnvelope,
  RequestError,
  type Result,
  z,
} from "../../protocol/index.ts";
import type { Actor } from "../auth/actor.ts";
import { notAddedSinceMs } from "../auth/logins.ts";
import type { Events } from "../events/events.ts";
import type { Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type ReadRecord, type RecordKind, type Records } from "../vault/records.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { Level } from "./decide.ts";
import type { Need } from "./limits.ts";

const CONTEXT = "cloister/approval/v1\n";
/** What approvers are shown of it. Longer params are not kept: whoever asked shows them, and the digest tells. */
const MAX_PARAMS_TEXT = 32 * 1024;
const MAX_ATTEMPTS = 5;

const need = z.strictObject({
  level: z.enum(["app", "user", "wallet"]),
  rule: z.string(),
  of: z.array(z.string()),
  threshold: z.int(),
});
const given = z.strictObject({
  /** A user's id or an API key's public key: each counts once, however often they are named. */
  by: z.string(),
  /** Which approvers they can stand for. */
  as: z.array(z.string()),
  requestId: z.string(),
  atMs: z.int(),
});
const approval = z.strictObject({
  requester: z.string(),
  /** A passkey of the user's own that is younger may be the doing of whoever asks. */
  askedSinceMs: z.int(),
  operation: z.string(),
  /** Canonical JSON; null where it is too long. */
  params: z.nullable(z.string()),
  digest: bytesOf(32),
  needs: z.array(need),
  createdAtMs: z.int(),
  expiresAtMs: z.int(),
  approvals: z.array(given),
  rejectedBy: z.nullable(z.string()),
  /** The id of the request that has collected it. */
  collectedBy: z.nullable(z.string()),
});
export type Approval = z.output<typeof approval>;
type ReadApproval = ReadRecord<Approval>;

/** `approval/<appId>/<apr_…>` */
const approvalRecords: RecordKind<Approval> = { prefix: "approval/", schema: approval };

/** What is to be agreed to. */
export interface Proposal {
  readonly actor: Actor;
  readonly envelope: RequestEnvelope;
  /** Digests of the documents in force, hex. */
  readonly policies: Readonly<Record<string, string>>;
}

export class Approvals {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #events: Events;
  readonly #nowMs: () => number;

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
  }

  /**
   * Lets a request wait, or finds that it does.
   *
   * @returns The refusal that says so.
   * @throws {@link RequestError} as {@link collectable}, and what records throw
   */
  async propose(proposal: Proposal, needs: readonly Need[]): Promise<RequestError> {
    const { actor, envelope } = proposal;
    const { appId } = actor;
    const requester = principalOf(actor);
    const digest = digestOf(proposal);
    const approvalId = this.#ids.derive("apr", [appId, requester, envelope.requestId, encodeHex(digest)]);
    const name = `${appId}/${approvalId}`;
    const nowMs = this.#nowMs();
    const params = canonicalJson(envelope.params);
    const value: Approval = {
      ...{ requester, operation: envelope.operation, digest, createdAtMs: nowMs },
      askedSinceMs: notAddedSinceMs(actor, nowMs),
      params: params.length <= MAX_PARAMS_TEXT ? params : null,
      needs: needs.map(({ level, rule }) => neededOf(level, rule)),
      expiresAtMs: nowMs + Math.min(...needs.map(({ rule }) => rule.approvals?.expiresS ?? 0)) * 1000,
      ...{ approvals: [], rejectedBy: null, collectedBy: null },
    };
    const isMade = await this.#records.write([change(approvalRecords, name, null, value)]);
    const standing = isMade ? value : (await this.#read(appId, approvalId)).value;
    return required(approvalId, this.#checkOpen(standing));
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
    this.#checkOpen(value);
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
      { kind: "approval-collected", details: { approvalId, digest: encodeHex(value.digest), approvers: short(by) } },
      (present) => {
        if (present.collectedBy === envelope.requestId) return null;
        this.#checkOpen(present);
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
      this.#checkOpen(present);
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
      this.#checkOpen(present);
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
    return this.#page(actor.appId, after, (each) => this.#stateOf(each) === "waiting" && concerns(actor, each));
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
        throw new RequestError("RECORD_CONFLICT", "an approval keeps changing: try again");
      }
      const last = page.at(-1);
      if (last === undefined || page.length < MAX_RECORDS_PER_PAGE) return;
      after = nameOf(last);
    }
  }

  view(approvalId: string, value: Approval): Result<"get_approval"> {
    const { requester, operation, params, createdAtMs, expiresAtMs } = value;
    return {
      ...{ approvalId, requester, operation, createdAtMs, expiresAtMs },
      params: params === null ? null : (JSON.parse(params) as JsonValue),
      digest: encodeHex(value.digest),
      state: this.#stateOf(value),
      needs: value.needs.map((each) => ({ ...each, given: countOf(each, value) })),
      approvers: value.approvals.map(({ by, atMs }) => ({ by, atMs })),
    };
  }

  #stateOf(value: Approval): Result<"get_approval">["state"] {
    if (value.collectedBy !== null) return "collected";
    if (value.rejectedBy !== null) return "rejected";
    if (value.expiresAtMs <= this.#nowMs()) return "expired";
    return value.needs.every((each) => isMet(each, value)) ? "approved" : "waiting";
  }

  #checkOpen(value: Approval): Approval {
    switch (this.#stateOf(value)) {
      case "collected":
        throw new RequestError("APPROVAL_COLLECTED", "collected already: it lets one request through");
      case "rejected":
        throw new RequestError("APPROVAL_REJECTED", "an approver has rejected it, or whoever asked took it back");
      case "expired":
        throw new RequestError("APPROVAL_EXPIRED", "it has waited too long: ask under a new request id");
      default:
        return value;
    }
  }

  /** Of users with an event in their log. @param decide - Null where it is so already. */
  async #change(
    actor: Actor,
    approvalId: string,
    event: Omit<Parameters<Events["add"]>[3], "by">,
    decide: (present: Approval) => Approval | null,
  ): Promise<Approval> {
    const { appId } = actor;
    const attempt = async (): Promise<{ readonly next: Approval; readonly made: Change | null }> => {
      const read = await this.#read(appId, approvalId);
      const next = decide(read.value);
      if (next === null) return { next: read.value, made: null };
      return { next, made: change(approvalRecords, `${appId}/${approvalId}`, read, next) };
    };
    if (actor.kind !== "api-key") {
      const by = actor.kind === "session" ? actor.session.sessionId : actor.passkey.passkeyId;
      return this.#users.change(appId, actor.userId, async (user) => {
        const { next, made } = await attempt();
        if (made === null) return { kind: "leave", result: next };
        const added = this.#events.add(appId, actor.userId, user, { ...event, by });
        return { kind: "write", user: added.user, also: [added.also, made], result: next };
      });
    }
    for (let tries = 0; tries < MAX_ATTEMPTS; tries += 1) {
      const { next, made } = await attempt();
      if (made === null || (await this.#records.write([made]))) return next;
    }
    throw new RequestError("RECORD_CONFLICT", "the approval keeps changing: try again");
  }

  async #read(appId: string, approvalId: string): Promise<ReadApproval> {
    const read = await this.#records.read(approvalRecords, `${appId}/${approvalId}`);
    if (read === null) throw notFound();
    return read;
  }
}

/** Whose request it is, across their sessions and however they stamp. */
export function principalOf(actor: Actor): string {
  return actor.kind === "api-key" ? actor.keyId : actor.userId;
}

export function digestOf({ actor, envelope, policies }: Proposal): Uint8Array {
  const { operation, params } = envelope;
  const text = canonicalJson({ appId: actor.appId, requester: principalOf(actor), operation, params, policies });
  return Uint8Array.from(createHash("sha256").update(CONTEXT).update(text, "utf8").digest());
}

function neededOf(level: Level, { id, approvals }: AllowRule): Approval["needs"][number] {
  if (approvals === undefined) throw new Error("a rule without approvals");
  return { level, rule: id, of: [...approvals.of], threshold: approvals.threshold };
}

/**
 * Which of the approvers somebody is. Nobody agrees to what they ask for themselves, save by a passkey that a rule asks
 * for: what a stolen session asks for, that session does not approve.
 */
function standsFor(actor: Actor, { requester, askedSinceMs, needs }: Approval): string[] {
  const named = new Set(needs.flatMap(({ of }) => of));
  const isOwn = principalOf(actor) === requester;
  // A thief of the session can register a passkey, but none that was there before it.
  if (isOwn && actor.kind === "passkey" && actor.passkey.createdAtMs >= askedSinceMs) return [];
  const names =
    actor.kind === "passkey"
      ? [actor.passkey.passkeyId, ...(isOwn ? ["own-passkey"] : [actor.userId])]
      : isOwn
        ? []
        : [principalOf(actor)];
  return names.filter((name) => named.has(name));
}

function concerns(actor: Actor, value: Approval): boolean {
  return value.requester === principalOf(actor) || standsFor(actor, value).length > 0;
}

function countOf({ of }: Approval["needs"][number], { approvals }: Approval): number {
  return approvals.filter(({ as }) => as.some((name) => of.includes(name))).length;
}

function isMet(each: Approval["needs"][number], value: Approval): boolean {
  return countOf(each, value) >= each.threshold;
}

function required(approvalId: string, { digest, expiresAtMs, needs }: Approval): RequestError {
  const details = {
    approvalId,
    digest: encodeHex(digest),
    expiresAtMs,
    needs: needs.map(({ level, rule, threshold }) => ({ level, rule, threshold })),
  };
  return new RequestError("APPROVAL_REQUIRED", `waits for approval under ${approvalId}`, { details });
}

function notFound(): RequestError {
  return new RequestError("APPROVAL_NOT_FOUND", "nothing of yours waits under this id");
}

function notAnApprover(): RequestError {
  return new RequestError("NOT_AN_APPROVER", "the rules name others as approvers");
}

/** Events are short; whose approvals they were stands in the approvers' own logs as well. */
function short(text: string): string {
  return text.slice(0, 2048);
}
