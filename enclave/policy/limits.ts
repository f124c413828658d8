/**
 * Cumulative limits. What a request takes of them is reserved before anything is signed, in one write that replaces the
 * very counters it was decided on, and nothing gives it back: whatever happens after that, a crash, an answer that is
 * lost, the limit was never exceeded. Requests of an app that wait at the same time share one write, so that many at once
 * do not collide with each other; enclaves that share a store collide, and decide again.
 */
import { type AllowRule, MAX_RECORDS_PER_PAGE, RequestError } from "../../protocol/index.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { amountOf, chainOfLimit } from "./amounts.ts";
import { Counter, counterRecords, REQUEST_KEY_BYTES } from "./counter.ts";
import type { Level, Open } from "./decide.ts";
import type { Facts } from "./facts.ts";

/** What is looked up at one level: rules beyond that are left out, which allows less. */
const MAX_COUNTERS_PER_LEVEL = 8;
/** In one write: at their greatest they fit into a frame. */
const MAX_COUNTERS_PER_WRITE = 32;
const MAX_REQUESTS_PER_WRITE = 512;
const MAX_ATTEMPTS = 8;
const MAX_WAIT_MS = 20;

export interface LimitedRequest {
  readonly appId: string;
  /** A user's id, or what stands in its place for the app itself. */
  readonly ownerId: string;
  readonly walletId: string;
  readonly facts: Facts;
  /** Hex, of {@link REQUEST_KEY_BYTES}: the same for a request that is asked again, and for no other. */
  readonly requestKey: string;
  readonly levels: Open["levels"];
  /** Whether a rule's approvals are there. */
  readonly isApproved: (level: Level, rule: AllowRule) => boolean;
}

export type Reservation =
  | { readonly kind: "reserved" }
  /** Nothing was reserved. These rules let it through once their approvals are there. */
  | { readonly kind: "needs-approval"; readonly needs: readonly Need[] }
  | { readonly kind: "over-limit"; readonly level: Level; readonly rule: AllowRule };

export interface Need {
  readonly level: Level;
  readonly rule: AllowRule;
}

/** What one limit has counted. */
export interface Counted {
  readonly limitId: string;
  /** By time, the oldest first. */
  readonly sums: string[];
  readonly requests: number;
}

interface Ask {
  readonly name: string;
  readonly windowS: number;
  readonly limit: bigint;
  readonly amount: bigint;
}

interface Candidate {
  readonly rule: AllowRule;
  readonly asks: readonly Ask[];
}

interface Waiting {
  readonly request: LimitedRequest;
  readonly levels: readonly { readonly level: Level; readonly candidates: readonly Candidate[] }[];
  readonly resolve: (reservation: Reservation) => void;
  readonly reject: (error: unknown) => void;
}

type Counters = Map<string, { readonly counter: Counter; readonly read: ReadRecord<unknown> | null }>;

export class Limits {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #nowMs: () => number;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly nowMs: () => number;
    readonly sleep: (ms: number) => Promise<void>;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#nowMs = options.nowMs;
    this.#sleep = options.sleep;
  }

  /**
   * Chooses a rule at each level and reserves what it takes; or reserves nothing.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT`, and what records throw: it may be reserved then, and nothing is signed
   */
  reserve(request: LimitedRequest): Promise<Reservation> {
    const levels = request.levels.map(({ level, candidates }) => ({
      level,
      candidates: this.#candidatesOf(request, level, candidates),
    }));
    const { promise, resolve, reject } = Promise.withResolvers<Reservation>();
    const waiting = this.#waiting.get(request.appId);
    const entry: Waiting = { request, levels, resolve, reject };
    if (waiting !== undefined) waiting.push(entry);
    else {
      const queue = [entry];
      this.#waiting.set(request.appId, queue);
      void this.#work(request.appId, queue);
    }
    return promise;
  }

  /** One page of what was counted of a user's. The parent can leave out what this boot has not seen. */
  async list(
    appId: string,
    userId: string,
    after: string | null,
  ): Promise<{ readonly limits: readonly Counted[]; readonly more: boolean }> {
    const under = `${appId}/${userId}/`;
    const page = await this.#records.list(counterRecords, under, after === null ? null : under + after);
    const limits = page.map(({ name, value: { buckets, requests } }) => ({
      limitId: name.slice(name.lastIndexOf("/") + 1),
      sums: buckets.map(({ sum }) => sum),
      requests: requests.length / REQUEST_KEY_BYTES,
    }));
    return { limits, more: page.length === MAX_RECORDS_PER_PAGE };
  }

  /** Does away with what was counted of a user's; counters of the whole app name nobody. */
  async erase(appId: string, userId: string): Promise<void> {
    const under = `${appId}/${userId}/`;
    for (;;) {
      const page = await this.#records.list(counterRecords, under, null);
      if (page.length === 0) return;
      const changes = page.map((read) =>
        change(counterRecords, read.name.slice(counterRecords.prefix.length), read, undefined),
      );
      if (!(await this.#records.write(changes))) throw new RequestError("RECORD_CONFLICT", "a limit keeps changing");
    }
  }

  #candidatesOf(request: LimitedRequest, level: Level, rules: readonly AllowRule[]): readonly Candidate[] {
    const candidates: Candidate[] = [];
    let count = 0;
    for (const rule of rules) {
      count += rule.limits?.length ?? 0;
      if (count > MAX_COUNTERS_PER_LEVEL && candidates.length > 0) break;
      candidates.push({ rule, asks: this.#asksOf(request, level, rule) });
    }
    return candidates;
  }

  #asksOf({ appId, ownerId, walletId, facts }: LimitedRequest, level: Level, rule: AllowRule): readonly Ask[] {
    return (rule.limits ?? []).map((limit) => {
      const { asset, token = "", windowS, per } = limit;
      const amount = amountOf(limit, facts);
      if (amount === null) throw new Error("a rule that cannot count this");
      const subject = { wallet: `${ownerId}/${walletId}`, user: ownerId, app: "" }[per];
      const document = { app: "", user: ownerId, wallet: walletId }[level];
      const counted = [asset, token, String(windowS), chainOfLimit(limit, facts)];
      const id = this.#ids.derive("lim", [appId, level, document, rule.id, per, subject, ...counted]);
      const name = `${appId}/${per === "app" ? "app" : ownerId}/${id}`;
      return { name, windowS, limit: BigInt(limit.amount), amount };
    });
  }

  async #work(appId: string, queue: Waiting[]): Promise<void> {
    while (queue.length > 0) {
      const batch = takeBatch(queue);
      try {
        const reservations = await this.#reserveAll(batch);
        for (const [at, { resolve, reject }] of batch.entries()) {
          const reservation = reservations[at];
          if (reservation === undefined) reject(new Error("a request without an outcome"));
          else resolve(reservation);
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#waiting.delete(appId);
  }

  async #reserveAll(batch: readonly Waiting[]): Promise<readonly Reservation[]> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      if (attempt > 0) await this.#sleep(Math.random() * MAX_WAIT_MS);
      const counters = await this.#read(batch);
      const nowMs = this.#nowMs();
      const reservations = batch.map((each) => choose(each, counters, nowMs));
      const changed = [...counters].filter(([, { counter }]) => counter.isChanged);
      if (changed.length === 0) return reservations;
      const changes = changed.map(([name, { counter, read }]) =>
        change(counterRecords, name, read as ReadRecord<ReturnType<Counter["toValue"]>> | null, counter.toValue(nowMs)),
      );
      if (await this.#records.write(changes)) return reservations;
    }
    throw new RequestError("RECORD_CONFLICT", "a limit keeps changing: try again");
  }

  async #read(batch: readonly Waiting[]): Promise<Counters> {
    const windows = new Map(asksOf(batch).map(({ name, windowS }) => [name, windowS]));
    const counters: Counters = new Map();
    await Promise.all(
      [...windows].map(async ([name, windowS]) => {
        const read = await this.#records.read(counterRecords, name);
        counters.set(name, { counter: new Counter(windowS, read?.value ?? null), read });
      }),
    );
    return counters;
  }
}

/** Counts a request in memory: what becomes of that is the write's to say. */
function choose({ request, levels }: Waiting, counters: Counters, nowMs: number): Reservation {
  const { requestKey, isApproved } = request;
  const has = ({ name }: Ask) => counters.get(name)?.counter.has(requestKey) === true;
  const hasRoom = (ask: Ask) =>
    has(ask) || (counters.get(ask.name)?.counter.total(nowMs) ?? ask.limit) + ask.amount <= ask.limit;
  const chosen: (Need & Candidate)[] = [];
  for (const { level, candidates } of levels) {
    // Asked again: the rule that it was counted for lets it through again.
    const before = candidates.find(({ asks }) => asks.length > 0 && asks.every(has));
    const candidate = before ?? candidates.find(({ asks }) => asks.every(hasRoom));
    if (candidate === undefined) {
      const [fullest] = candidates;
      if (fullest === undefined) throw new Error("a level without a candidate");
      return { kind: "over-limit", level, rule: fullest.rule };
    }
    chosen.push({ level, ...candidate });
  }
  const needs = chosen.filter(({ level, rule }) => rule.approvals !== undefined && !isApproved(level, rule));
  if (needs.length > 0) return { kind: "needs-approval", needs: needs.map(({ level, rule }) => ({ level, rule })) };
  for (const ask of chosen.flatMap(({ asks }) => asks)) {
    if (!has(ask)) counters.get(ask.name)?.counter.add(requestKey, ask.amount, nowMs);
  }
  return { kind: "reserved" };
}

function asksOf(batch: readonly Waiting[]): readonly Ask[] {
  return batch.flatMap(({ levels }) => levels.flatMap(({ candidates }) => candidates.flatMap(({ asks }) => asks)));
}

/** From the front, and no later one before an earlier: nobody waits for ever. */
function takeBatch(queue: Waiting[]): readonly Waiting[] {
  const names = new Set<string>();
  let count = 0;
  for (const each of queue) {
    const added = asksOf([each]).filter(({ name }) => !names.has(name));
    const isFull = names.size + added.length > MAX_COUNTERS_PER_WRITE || count >= MAX_REQUESTS_PER_WRITE;
    if (isFull && count > 0) break;
    for (const { name } of added) names.add(name);
    count += 1;
  }
  return queue.splice(0, count);
}
