/**
 * Who is let in when more ask than can be answered. It stands before everything that costs: before a stamp is verified and
 * before a sealed request is opened. It keeps apps from each other and strangers from all of them; against the parent,
 * which can let nobody through at all, it is no help.
 */
import type { KeyObject } from "node:crypto";
import { ERROR_CODES } from "../../protocol/index.ts";
import { type ReceivedRequest, type SignedAnswer, signAnswer } from "../answer.ts";
import type { Log } from "../log.ts";
import { asRefusal } from "../refusal.ts";
import type { GroupLimits, Place } from "./fair-queue.ts";
import { FairTurns, type NoTurn } from "./fair-turns.ts";
import { type AdmissionGroup, type Claim, claimOf, type Known, placeOf, placeOfSealed } from "./place-of.ts";
import { credentialOfKey, ProvenCredentials } from "./proven-credentials.ts";

type Handled = { readonly status: number; readonly body: Uint8Array; readonly signature: Uint8Array | null };

/** What answers requests once they are let in. */
export interface Handler {
  /** How many threads serve; the first of them opens what is sealed. */
  readonly threads: number;
  /** Which of them serves this one. */
  threadOf(request: ReceivedRequest): number;
  handle(request: ReceivedRequest, thread: number): Promise<SignedAnswer>;
  handleSealed(sealed: Uint8Array, handle: (request: ReceivedRequest) => Promise<SignedAnswer>): Promise<Handled>;
}

export interface AdmissionLimits {
  /** Requests under way at once in one thread. Enough that it never waits for records with nothing to do. */
  readonly maxRunning: number;
  readonly maxWaitMs: number;
  readonly groups: Readonly<Record<AdmissionGroup, GroupLimits>>;
}

export interface AdmissionOptions {
  readonly handler: Handler;
  readonly deployment: string;
  /** Their public keys, hex. */
  readonly administrators: readonly string[];
  readonly answerKey: KeyObject;
  readonly monotonicMs: () => number;
  readonly log: Log;
  /** {@link admissionLimits} unless a test has others. */
  readonly limits?: AdmissionLimits;
}

const MAX_RUNNING = 64;
/** The main thread. */
const OPENS_SEALED = 0;
/** A third of the parent's patience: what is answered later may find nobody who waits for it. */
const MAX_WAIT_MS = 10_000;
const MEBIBYTE = 1024 * 1024;
/** However much is refused, one line in this time. */
const LOG_EVERY_MS = 10_000;

/**
 * @param maxRunning - See {@link AdmissionLimits}. No app takes more than three quarters, so that one whose requests all
 *   wait for something leaves room; two of them do meet in the queue, where what they cost counts. Strangers take half.
 * @param threads - They share what may wait: it is memory.
 */
export function admissionLimits(maxRunning: number = MAX_RUNNING, threads = 1): AdmissionLimits {
  const half = Math.ceil(maxRunning / 2);
  const maxRunningPerLane = Math.ceil((maxRunning * 3) / 4);
  const group = (weight: number, maxWaiting: number, mebibytes: number): GroupLimits => ({
    ...{ weight, maxWaiting: Math.ceil(maxWaiting / threads), maxRunning: half, maxRunningPerLane },
    maxWaitingBytes: Math.ceil((mebibytes * MEBIBYTE) / threads),
  });
  return {
    maxRunning,
    maxWaitMs: MAX_WAIT_MS,
    groups: {
      administrators: { ...group(2, 64, 4), maxRunning, extraRunning: 8 },
      proven: { ...group(8, 800, 24), maxRunning },
      sealed: group(4, 256, 16),
      unproven: group(2, 256, 8),
    },
  };
}

export class Admission {
  readonly #options: AdmissionOptions;
  /** Of each thread its own: one that stands still fills no more than what waits for itself. */
  readonly #turns: readonly FairTurns<AdmissionGroup>[];
  readonly #known: Known;
  readonly #since = { waited: 0, longestWaitMs: 0, full: 0, late: 0 };
  #saidAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { deployment, administrators } = options;
    const credentials = administrators.map(credentialOfKey).filter((credential) => credential !== undefined);
    this.#known = { deployment, administrators: new Set(credentials), proven: new ProvenCredentials() };
    const { threads } = options.handler;
    const turns = () =>
      new FairTurns({
        ...(options.limits ?? admissionLimits(MAX_RUNNING, threads)),
        monotonicMs: options.monotonicMs,
        onWaited: (waitedMs) => {
          this.#since.waited += 1;
          this.#since.longestWaitMs = Math.max(this.#since.longestWaitMs, waitedMs);
        },
        onNoTurn: (why) => this.#say(why),
      });
    this.#turns = Array.from({ length: threads }, turns);
  }

  /** What waits, and what is under way. */
  get load(): { readonly waiting: number; readonly running: number } {
    const sum = (of: "waiting" | "running") => this.#turns.reduce((all, turns) => all + turns[of], 0);
    return { waiting: sum("waiting"), running: sum("running") };
  }

  close(): void {
    for (const turns of this.#turns) turns.close();
  }

  /** Never rejects: who is not let in has an answer, and signed like one. */
  async handle(request: ReceivedRequest): Promise<SignedAnswer> {
    const { handler, deployment, monotonicMs } = this.#options;
    const claim = claimOf(request, deployment);
    const thread = handler.threadOf(request);
    let leave: () => void;
    try {
      leave = await this.#take(thread, placeOf(request, claim, this.#known, monotonicMs()));
    } catch (error) {
      return this.#refusal(error, request);
    }
    try {
      const answer = await handler.handle(request, thread);
      if (answer.status === 200) this.#prove(claim);
      return answer;
    } finally {
      leave();
    }
  }

  /** As {@link handle}: it waits to be opened, and then once more with what was inside. */
  async handleSealed(sealed: Uint8Array): Promise<Handled> {
    const { handler } = this.#options;
    let leave: () => void;
    try {
      leave = await this.#take(OPENS_SEALED, placeOfSealed(sealed, this.#known));
    } catch (error) {
      return this.#refusal(error, { body: sealed, stamps: [] });
    }
    try {
      return await handler.handleSealed(sealed, (request) => {
        leave();
        return this.handle(request);
      });
    } finally {
      leave();
    }
  }

  #take(thread: number, place: Place<AdmissionGroup>): Promise<() => void> {
    const turns = this.#turns[thread];
    if (turns === undefined) throw new Error(`no thread ${thread}`);
    return turns.take(place);
  }

  /** An answer that is no refusal: strict JSON found the very app that was claimed, and its stamps were verified. */
  #prove({ app, credential }: Claim): void {
    if (app === null || credential === undefined) return;
    this.#known.proven.add(app, credential, this.#options.monotonicMs());
  }

  /** Without the request's id: the request was not read. */
  #refusal(error: unknown, request: ReceivedRequest): SignedAnswer {
    const { code, message } = asRefusal(error);
    const answer = { requestId: null, error: { code, message } };
    return signAnswer(this.#options.answerKey, request, ERROR_CODES[code].status, answer);
  }

  #say(why: NoTurn): void {
    const since = this.#since;
    since[why] += 1;
    const nowMs = this.#options.monotonicMs();
    if (nowMs - this.#saidAtMs < LOG_EVERY_MS) return;
    this.#saidAtMs = nowMs;
    const { waited, longestWaitMs, full, late } = since;
    this.#options.log.warn("admission", { ...this.load, waited, longestWaitMs: Math.round(longestWaitMs), full, late });
    Object.assign(since, { waited: 0, longestWaitMs: 0, full: 0, late: 0 });
  }
}
