/**
 * Changes of one user that need no write each. A write waits for a disk, and what comes to the same user meanwhile waits
 * for the write: all of that goes into the next one. Nothing waits for company.
 */
import { MAX_RECORD_CHANGES, RequestError } from "../../protocol/index.ts";
import type { Change } from "../vault/records.ts";
import type { Turns } from "./turns.ts";
import type { User } from "./user.ts";
import type { UserDecision } from "./users.ts";

/**
 * What comes of a look at the records that a joint change is about. Of the user it sees nothing when it decides: it may
 * only add to it what others' additions leave true, as an event is.
 */
export type JointDecision<Result> =
  | { readonly kind: "leave"; readonly result: Result }
  | {
      readonly kind: "write";
      /** {@link MAX_CHANGES_EACH} further records at most, a few kilobytes of them. */
      readonly onto: (user: User) => { readonly user: User; readonly also: readonly Change[] };
      readonly result: Result;
    };

/** @param isFirst - Nothing contradicts yet that there is nothing there: the write finds out. Otherwise look. */
export type DecideJointly<Result> = (isFirst: boolean) => JointDecision<Result> | Promise<JointDecision<Result>>;

/** One attempt to write a user, as `Users` makes it. @returns False if another write came between. */
export type AttemptUser = (
  decide: (user: User) => UserDecision<undefined>,
  options: { readonly isFirst: boolean },
) => Promise<boolean>;

/** What is made, and its event. */
const MAX_CHANGES_EACH = 2;
/** Beside the user. */
const MAX_JOINED = Math.floor((MAX_RECORD_CHANGES - 1) / MAX_CHANGES_EACH);
/** Then they part: if one of them is what contradicts, it must not take the others along. */
const ATTEMPTS_TOGETHER = 3;

interface Waiting {
  readonly about: string;
  /** Answers by itself what need not be written, and what fails: then there is nothing to write. */
  readonly look: (isFirst: boolean) => Promise<Decided | null>;
  readonly reject: (error: unknown) => void;
}

interface Decided {
  readonly onto: Extract<JointDecision<unknown>, { kind: "write" }>["onto"];
  readonly answer: () => void;
}

export class JointChanges {
  readonly #turns: Turns;
  readonly #maxAttempts: number;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(turns: Turns, maxAttempts: number) {
    this.#turns = turns;
    this.#maxAttempts = maxAttempts;
  }

  /**
   * @param name - Of the user, and of their turn.
   * @param about - What it changes beside the user: no write holds two about the same.
   * @throws {@link RequestError} `RECORD_CONFLICT`, what `decide` throws, and what records throw
   */
  change<Result>(name: string, about: string, decide: DecideJointly<Result>, attempt: AttemptUser): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const look = async (isFirst: boolean): Promise<Decided | null> => {
      try {
        const decision = await decide(isFirst);
        if (decision.kind === "write") return { onto: decision.onto, answer: () => resolve(decision.result) };
        resolve(decision.result);
      } catch (error) {
        reject(error);
      }
      return null;
    };
    const waiting = this.#waiting.get(name);
    if (waiting !== undefined) waiting.push({ about, look, reject });
    else {
      this.#waiting.set(name, [{ about, look, reject }]);
      void this.#serve(name, attempt);
    }
    return promise;
  }

  /** Turn by turn, so that what else waits for this user comes between. */
  async #serve(name: string, attempt: AttemptUser): Promise<void> {
    for (let left: readonly Waiting[] = this.#waiting.get(name) ?? []; left.length > 0; ) {
      await this.#turns.take(name, () => this.#writeNext(name, attempt));
      left = this.#waiting.get(name) ?? [];
    }
    this.#waiting.delete(name);
  }

  /** Writes those that wait now, as many as one write holds. Never rejects: whoever waits hears of what fails. */
  async #writeNext(name: string, attempt: AttemptUser): Promise<void> {
    let group = this.#takeGroup(name);
    for (let at = 1; group.length > 0; at += 1) {
      const decided = new Map<Waiting, Decided>();
      await Promise.all(
        group.map(async (each) => {
          const one = await each.look(at === 1);
          if (one !== null) decided.set(each, one);
        }),
      );
      // Those that are left, in the order in which they came.
      group = group.filter((each) => decided.has(each));
      if (group.length === 0) return;
      const written = group.flatMap((each) => decided.get(each) ?? []);
      try {
        if (await attempt((user) => join(user, written), { isFirst: at === 1 })) {
          for (const { answer } of written) answer();
          return;
        }
        if (at >= this.#maxAttempts) throw keepsChanging();
      } catch (error) {
        // A fault of our own, such as a value that cannot be sealed, is of one of them, if there are several.
        const isOfOne = !(error instanceof RequestError) && group.length > 1;
        if (!isOfOne) {
          for (const { reject } of group) reject(error);
          return;
        }
      }
      if (at >= ATTEMPTS_TOGETHER && group.length > 1) {
        const half = Math.ceil(group.length / 2);
        this.#waiting.get(name)?.unshift(...group.slice(half));
        group = group.slice(0, half);
      }
    }
  }

  #takeGroup(name: string): readonly Waiting[] {
    const group: Waiting[] = [];
    const left: Waiting[] = [];
    const about = new Set<string>();
    for (const each of this.#waiting.get(name) ?? []) {
      if (group.length === MAX_JOINED || about.has(each.about)) left.push(each);
      else group.push(each);
      about.add(each.about);
    }
    this.#waiting.set(name, left);
    return group;
  }
}

function join(user: User, written: readonly Decided[]): UserDecision<undefined> {
  const also: Change[] = [];
  let joined = user;
  for (const { onto } of written) {
    const added = onto(joined);
    if (added.also.length > MAX_CHANGES_EACH) throw new Error(`a joint change of ${added.also.length} records`);
    joined = added.user;
    also.push(...added.also);
  }
  return { kind: "write", user: joined, also, result: undefined };
}

export function keepsChanging(): RequestError {
  return new RequestError("RECORD_CONFLICT", "the user keeps changing: try again");
}
