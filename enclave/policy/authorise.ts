/** The one way to an {@link Authorised}: scope first, then what policies say of the facts, then what is left of limits. */
import { createHash } from "node:crypto";
import {
  type Account,
  type AppOperation,
  encodeHex,
  type RequestEnvelope,
  RequestError,
} from "../../protocol/index.ts";
import { type Apps, placeOf } from "../apps/apps.ts";
import type { Actor } from "../auth/actor.ts";
import { ownerOf } from "../auth/owner.ts";
import { checkChain } from "../auth/scope.ts";
import type { User } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import { type Approval, type Proposal, principalOf } from "./approval.ts";
import type { Approvals } from "./approvals.ts";
import type { Authorised } from "./authorised.ts";
import { canonicalJson } from "./canonical-json.ts";
import { demandOf } from "./compile.ts";
import { REQUEST_KEY_BYTES } from "./counter.ts";
import { type Denied, decide, decisionJson, denied, type Level, type LevelPolicy, type Open } from "./decide.ts";
import type { PolicyDocuments, PolicyPin } from "./documents.ts";
import { Evaluation } from "./evaluation.ts";
import { chainOf, type Facts } from "./facts.ts";
import type { Caller } from "./fields.ts";
import type { Limits } from "./limits.ts";
import { SlowCallers } from "./slow-callers.ts";
import { placeOfUser, policyOf } from "./user-policies.ts";

/** One thing that somebody asks to have signed. */
export interface SigningRequest {
  readonly actor: Actor;
  readonly operation: AppOperation;
  readonly envelope: RequestEnvelope;
  readonly walletId: string;
  /** Those that are to sign: one, unless inputs of several are spent at once. */
  readonly accounts: readonly Account[];
  readonly facts: Facts;
}

interface BindingPolicy extends LevelPolicy {
  readonly digest: string;
}

export class Policies {
  readonly #apps: Apps;
  readonly #users: Users;
  readonly #documents: PolicyDocuments;
  readonly #limits: Limits;
  readonly #approvals: Approvals;
  readonly #nowMs: () => number;
  readonly #slowCallers = new SlowCallers();

  constructor(options: {
    readonly apps: Apps;
    readonly users: Users;
    readonly documents: PolicyDocuments;
    readonly limits: Limits;
    readonly approvals: Approvals;
    readonly nowMs: () => number;
  }) {
    this.#apps = options.apps;
    this.#users = options.users;
    this.#documents = options.documents;
    this.#limits = options.limits;
    this.#approvals = options.approvals;
    this.#nowMs = options.nowMs;
  }

  /**
   * What comes of it is reserved and collected by then: call it last, and sign.
   *
   * @throws {@link RequestError} `POLICY_DENIED`, with the decision; `APPROVAL_…`; `OUT_OF_SCOPE`; `BUSY`; and what records throw
   */
  async authorise(request: SigningRequest): Promise<Authorised> {
    const { actor, operation, envelope, walletId, accounts, facts } = request;
    const chain = chainOf(facts);
    // A scope that lists chains was judged by the operation's entry where there is no chain at all.
    if (chain !== null) checkChain(actor.scope, chain);
    else if (actor.scope.chains !== null) throw new RequestError("OUT_OF_SCOPE", "outside the scope: it names chains");
    const levels = await this.#levelsOf(actor, walletId);
    const { appId, userId } = ownerOf(actor);
    const verdict = await this.#slowCallers.judge(`${appId}/${userId}`, () => {
      const nowMs = this.#nowMs();
      const evaluation = new Evaluation({ caller: callerOf(actor), operation, walletId, facts, nowMs });
      return { result: decide(evaluation, levels), steps: evaluation.steps };
    });
    if (verdict.kind === "denied") throw refusal(verdict);
    if (envelope.approvalId !== undefined || verdict.levels.some(({ candidates: [first] }) => demandOf(first) > 0)) {
      await this.#meet(request, verdict, levels);
    }
    // The only place that makes one.
    return { walletId, publicKeys: accounts.map(({ publicKey }) => publicKey), facts } as unknown as Authorised;
  }

  /** What was counted of a user. @throws {@link RequestError} what records throw */
  counted(appId: string, userId: string, after: string | null): ReturnType<Limits["list"]> {
    return this.#limits.list(appId, userId, after);
  }

  /** What was counted of a user who is to be erased. @throws {@link RequestError} what records throw */
  erase(appId: string, userId: string): Promise<void> {
    return this.#limits.erase(appId, userId);
  }

  /** Limits and approvals. */
  async #meet(request: SigningRequest, verdict: Open, levels: readonly BindingPolicy[]): Promise<void> {
    const { actor, envelope, walletId, facts } = request;
    const policies = Object.fromEntries(levels.map(({ level, digest }) => [level, digest]));
    const proposal: Proposal = { actor, envelope, policies };
    const read =
      envelope.approvalId === undefined ? null : await this.#approvals.collectable(proposal, envelope.approvalId);
    const approved = read?.value ?? null;
    const reservation = await this.#limits.reserve({
      ...{ appId: actor.appId, ownerId: ownerOf(actor).userId, walletId, facts },
      requestKey: requestKeyOf(actor, envelope),
      levels: verdict.levels.map((each) => onlyApproved(each, approved)),
      isApproved: (level, rule) => isApproved(approved, level, rule.id),
    });
    switch (reservation.kind) {
      case "needs-approval":
        throw await this.#approvals.propose(proposal, reservation.needs);
      case "over-limit":
        throw refusal(denied("OVER_LIMIT", reservation.level, reservation.rule.id, []));
      case "reserved":
        if (read !== null) await this.#approvals.collect(proposal, read);
    }
  }

  async #levelsOf(actor: Actor, walletId: string): Promise<readonly BindingPolicy[]> {
    const user = actor.kind === "api-key" ? null : actor.user;
    try {
      return await this.#levelsAt(actor, user, walletId);
    } catch (error) {
      if (!(error instanceof RequestError) || error.code !== "RECORD_ROLLED_BACK") throw error;
      // Withheld, or done away with by another enclave since app and user were read: they tell, if they are read anew.
      const userNow = actor.kind === "api-key" ? null : await this.#users.get(actor.appId, actor.userId, 0);
      return await this.#levelsAt(actor, userNow ?? user, walletId, 0);
    }
  }

  async #levelsAt(
    actor: Actor,
    user: User | null,
    walletId: string,
    maxAgeMs?: number,
  ): Promise<readonly BindingPolicy[]> {
    const { appId } = actor;
    const { policy } = await this.#apps.get(appId, maxAgeMs);
    const levels = policy === null ? [] : [await this.#binding("app", placeOf(appId), policy)];
    if (actor.kind === "api-key" || user === null) return levels;
    for (const bound of ["user", walletId]) {
      const own = policyOf(user, bound);
      if (own === null) continue;
      const place = placeOfUser(appId, actor.userId, bound);
      levels.push(await this.#binding(bound === "user" ? "user" : "wallet", place, own.pin));
    }
    return levels;
  }

  async #binding(level: Level, place: string, pin: PolicyPin): Promise<BindingPolicy> {
    return { level, policy: await this.#documents.get(place, pin), digest: encodeHex(pin.digest) };
  }
}

export function callerOf(actor: Actor): Caller {
  switch (actor.kind) {
    case "session": {
      const { sessionId, identityId } = actor.session;
      return { kind: "session", userId: actor.userId, sessionId, loginId: identityId, publicKey: actor.publicKey };
    }
    case "passkey": {
      const { passkeyId } = actor.passkey;
      return { kind: "passkey", userId: actor.userId, sessionId: null, loginId: passkeyId, publicKey: null };
    }
    case "api-key":
      return { kind: "api-key", userId: null, sessionId: null, loginId: null, publicKey: actor.keyId };
  }
}

/** The same for a request that is asked again: whoever asks, its id, and all that it asks. */
function requestKeyOf(actor: Actor, { requestId, operation, params }: RequestEnvelope): string {
  const text = canonicalJson([principalOf(actor), requestId, operation, params]);
  return createHash("sha256")
    .update(text, "utf8")
    .digest("hex")
    .slice(0, 2 * REQUEST_KEY_BYTES);
}

function isApproved(approved: Approval | null, level: Level, rule: string): boolean {
  return approved?.needs.some((need) => need.level === level && need.rule === rule) === true;
}

/** What was approved lets it through, where something was: not what happens to have room by now. */
function onlyApproved(each: Open["levels"][number], approved: Approval | null): Open["levels"][number] {
  const [first, ...others] = each.candidates.filter(({ id }) => isApproved(approved, each.level, id));
  return first === undefined ? each : { level: each.level, candidates: [first, ...others] };
}

const WHY = {
  NO_APP_POLICY: "the app has no policy, so nothing is signed",
  DENIED_BY_RULE: "a rule denies it",
  NOT_ALLOWED: "no rule allows it",
  OVER_LIMIT: "it would go over a limit",
  TOO_MUCH_WORK: "judging it takes more conditions than are looked at for one request",
} as const;

function refusal(decision: Denied): RequestError {
  const { reason, level, rule } = decision;
  const where = [level === null ? "" : `at the level of the ${level}`, rule === null ? "" : `rule ${rule}`];
  const message = [WHY[reason], ...where.filter((each) => each !== "")].join(", ");
  return new RequestError("POLICY_DENIED", message, { details: decisionJson(decision) });
}
