/** One request that waits for others to agree: what is kept of it, who may agree, and how it stands. */
import { createHash } from "node:crypto";
import {
  type AllowRule,
  bytesOf,
  encodeHex,
  type JsonValue,
  type RequestEnvelope,
  RequestError,
  type Result,
  z,
} from "../../protocol/index.ts";
import type { Actor } from "../auth/actor.ts";
import { notAddedSinceMs } from "../auth/logins.ts";
import type { ReadRecord, RecordKind } from "../vault/records.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { Level } from "./decide.ts";
import type { Need } from "./limits.ts";

const CONTEXT = "cloister/approval/v1\n";
/**
 * How long its record stays after its time: for whoever asks what became of it, and for a retry of the request that
 * collected it. By then every request that names it is stale, and an older state that a parent may bring back has expired.
 */
const KEPT_AFTER_MS = 24 * 3600_000;
/** What approvers are shown of it. Longer params are not kept: whoever asked shows them, and the digest tells. */
const MAX_PARAMS_TEXT = 32 * 1024;

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
export type ReadApproval = ReadRecord<Approval>;

/** `approval/<appId>/<apr_…>` */
export const approvalRecords: RecordKind<Approval> = {
  prefix: "approval/",
  schema: approval,
  expiresAtMs: ({ expiresAtMs }) => expiresAtMs + KEPT_AFTER_MS,
};

/** What is to be agreed to. */
export interface Proposal {
  readonly actor: Actor;
  readonly envelope: RequestEnvelope;
  /** Digests of the documents in force, hex. */
  readonly policies: Readonly<Record<string, string>>;
}

export function stateOf(value: Approval, nowMs: number): Result<"get_approval">["state"] {
  if (value.collectedBy !== null) return "collected";
  if (value.rejectedBy !== null) return "rejected";
  if (value.expiresAtMs <= nowMs) return "expired";
  return value.needs.every((each) => isMet(each, value)) ? "approved" : "waiting";
}

/** @throws {@link RequestError} `APPROVAL_COLLECTED`, `APPROVAL_REJECTED`, `APPROVAL_EXPIRED` */
export function checkOpen(value: Approval, nowMs: number): Approval {
  switch (stateOf(value, nowMs)) {
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

/** Whether it counts among those that whoever asked has waiting: what they take back themselves does, until its time. */
export function hasPlace({ requester, rejectedBy, collectedBy }: Approval): boolean {
  return collectedBy === null && (rejectedBy === null || rejectedBy === requester);
}

export function newApproval(proposal: Proposal, needs: readonly Need[], nowMs: number): Approval {
  const { actor, envelope } = proposal;
  const params = canonicalJson(envelope.params);
  return {
    ...{ requester: principalOf(actor), operation: envelope.operation, digest: digestOf(proposal) },
    ...{ createdAtMs: nowMs, askedSinceMs: notAddedSinceMs(actor, nowMs) },
    params: params.length <= MAX_PARAMS_TEXT ? params : null,
    needs: needs.map(({ level, rule }) => neededOf(level, rule)),
    expiresAtMs: nowMs + Math.min(...needs.map(({ rule }) => rule.approvals?.expiresS ?? 0)) * 1000,
    ...{ approvals: [], rejectedBy: null, collectedBy: null },
  };
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
export function standsFor(actor: Actor, { requester, askedSinceMs, needs }: Approval): string[] {
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

export function concerns(actor: Actor, value: Approval): boolean {
  return value.requester === principalOf(actor) || standsFor(actor, value).length > 0;
}

function countOf({ of }: Approval["needs"][number], { approvals }: Approval): number {
  return approvals.filter(({ as }) => as.some((name) => of.includes(name))).length;
}

export function isMet(each: Approval["needs"][number], value: Approval): boolean {
  return countOf(each, value) >= each.threshold;
}

export function required(approvalId: string, { digest, expiresAtMs, needs }: Approval): RequestError {
  const details = {
    approvalId,
    digest: encodeHex(digest),
    expiresAtMs,
    needs: needs.map(({ level, rule, threshold }) => ({ level, rule, threshold })),
  };
  return new RequestError("APPROVAL_REQUIRED", `waits for approval under ${approvalId}`, { details });
}

export function notFound(): RequestError {
  return new RequestError("APPROVAL_NOT_FOUND", "nothing of yours waits under this id");
}

export function notAnApprover(): RequestError {
  return new RequestError("NOT_AN_APPROVER", "the rules name others as approvers");
}

export function viewOf(approvalId: string, value: Approval, nowMs: number): Result<"get_approval"> {
  const { requester, operation, params, createdAtMs, expiresAtMs } = value;
  return {
    ...{ approvalId, requester, operation, createdAtMs, expiresAtMs },
    params: params === null ? null : (JSON.parse(params) as JsonValue),
    digest: encodeHex(value.digest),
    state: stateOf(value, nowMs),
    needs: value.needs.map((each) => ({ ...each, given: countOf(each, value) })),
    approvers: value.approvals.map(({ by, atMs }) => ({ by, atMs })),
  };
}
