/**
 * Users, and the one way to change one: read, decide, write, and all over again if another change came between.
 *
 * A user's id is random and made at the first login. Were it derived from issuer and subject, an identity that was
 * unlinked would lead back to the user that it was taken from as soon as a parent had lost the right two records.
 * What decides is the user's own list: an identity's record only says where to look, and where the two contradict each
 * other nobody is logged in.
 */
import { RequestError } from "../../protocol/index.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { FreshCache, TRUSTED_FOR_MS } from "../vault/fresh-cache.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type Records } from "../vault/records.ts";
import { type DecideJointly, JointChanges, keepsChanging } from "./joint-changes.ts";
import { Turns } from "./turns.ts";
import { APP_ITSELF, appItself, type Identity, identityRecords, newUser, type User, userRecords } from "./user.ts";

/** Those in this enclave take turns; it is other enclaves that come between. */
const MAX_ATTEMPTS = 12;
/** Kept in memory so that not every request needs a record to be authorised. */
const MAX_CACHED_BYTES = 64 * 1024 * 1024;
const USER_ID_BYTES = 16;

/** What comes of a look at a user. Whoever decides may be asked again, and must then read again what it rests on. */
export type UserDecision<Result> =
  | { readonly kind: "leave"; readonly result: Result }
  | {
      readonly kind: "write";
      readonly user: User;
      /** Further records, written with the user or not at all. */
      readonly also?: readonly Change[];
      readonly result: Result;
    }
  /** The user's record goes, and these with it. */
  | { readonly kind: "erase"; readonly also: readonly Change[]; readonly result: Result };

export type DecideUser<Result> = (user: User, userId: string) => UserDecision<Result> | Promise<UserDecision<Result>>;

type Attempt<Result> = { readonly done: true; readonly result: Result } | { readonly done: false };

export class Users {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;
  readonly #cache: FreshCache<User>;
  readonly #turns = new Turns();
  readonly #joint = new JointChanges(this.#turns, MAX_ATTEMPTS);

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly randomness: Randomness;
    readonly nowMs: () => number;
    /** Of what one thread may keep: 1 where there is but one. */
    readonly part?: number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
    this.#cache = new FreshCache({ ...options, kind: userRecords, maxBytes: MAX_CACHED_BYTES * (options.part ?? 1) });
  }

  /**
   * @param maxAgeMs - As {@link FreshCache.read} takes it.
   * @throws {@link RequestError} what reading records throws
   */
  async get(appId: string, userId: string, maxAgeMs?: number): Promise<User | null> {
    const read = await this.#cache.read(`${appId}/${userId}`, maxAgeMs);
    return read?.value ?? (userId === APP_ITSELF ? appItself() : null);
  }

  /** The id under which an identity of this app is recorded. */
  identityIdOf(appId: string, { issuer, subject }: Identity): string {
    return this.#ids.derive("idn", [appId, issuer, subject]);
  }

  /**
   * Changes a user.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT`, what `decide` throws, and what records throw
   */
  async change<Result>(appId: string, userId: string, decide: DecideUser<Result>): Promise<Result> {
    return this.#turns.take(`${appId}/${userId}`, async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const made = await this.#attempt(appId, userId, decide);
        if (made.done) return made.result;
      }
      throw keepsChanging();
    });
  }

  /**
   * Changes a user together with whatever else is changed so meanwhile: all of it in one write, each with a result of its own.
   *
   * @param about - Ids of what is changed beside the user.
   * @throws {@link RequestError} `RECORD_CONFLICT`, what `decide` throws, and what records throw
   */
  changeJointly<Result>(appId: string, userId: string, about: string, decide: DecideJointly<Result>): Promise<Result> {
    return this.#joint.change(`${appId}/${userId}`, about, decide, async (join, { isFirst }) => {
      // A write tells of a user that has changed: what was read lately is as good to begin with.
      const made = await this.#attempt(appId, userId, join, isFirst ? TRUSTED_FOR_MS : 0);
      return made.done;
    });
  }

  /**
   * Changes the user whom an identity leads to, and makes one if it leads to nobody.
   *
   * @throws {@link RequestError} `RECORD_ROLLED_BACK` where identity and user contradict each other; and as {@link change}
   */
  async changeByIdentity<Result>(appId: string, identity: Identity, decide: DecideUser<Result>): Promise<Result> {
    const identityId = this.identityIdOf(appId, identity);
    const linkName = `${appId}/${identityId}`;
    return this.#turns.take(linkName, async () => {
      let contradict = false;
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const link = await this.#records.read(identityRecords, linkName);
        if (link === null) {
          const made = await this.#make(appId, identityId, identity, decide);
          if (made.done) return made.result;
          continue;
        }
        const { userId } = link.value;
        const made = await this.#turns.take(`${appId}/${userId}`, () =>
          this.#attempt(appId, userId, (user) => {
            contradict = !user.identities.some((each) => each.identityId === identityId);
            // Unlinked a moment ago, or a parent that brings an old link back: reading again tells one from the other.
            return contradict ? null : decide(user, userId);
          }),
        );
        if (made.done) return made.result;
      }
      throw contradict
        ? new RequestError("RECORD_ROLLED_BACK", "the records of this identity and its user contradict each other")
        : keepsChanging();
    });
  }

  async #make<Result>(
    appId: string,
    identityId: string,
    { issuer, subject }: Identity,
    decide: DecideUser<Result>,
  ): Promise<Attempt<Result>> {
    const userId = `usr_${Buffer.from(this.#randomness.bytes(USER_ID_BYTES)).toString("hex")}`;
    const user = newUser({ identityId, issuer, subject, linkedAtMs: this.#nowMs() });
    const decision = await decide(user, userId);
    if (decision.kind === "leave") return { done: true, result: decision.result };
    if (decision.kind === "erase") throw new Error("a login erases nobody");
    const isMade = await this.#records.write([
      change(userRecords, `${appId}/${userId}`, null, decision.user),
      change(identityRecords, `${appId}/${identityId}`, null, { userId }),
      ...(decision.also ?? []),
    ]);
    return isMade ? { done: true, result: decision.result } : { done: false };
  }

  async #attempt<Result>(
    appId: string,
    userId: string,
    decide: (user: User, userId: string) => ReturnType<DecideUser<Result>> | null,
    // What stands there now: of a decision to leave it alone no write would tell that it rested on something older.
    maxAgeMs = 0,
  ): Promise<Attempt<Result>> {
    const name = `${appId}/${userId}`;
    const read = await this.#cache.read(name, maxAgeMs);
    const user = read?.value ?? (userId === APP_ITSELF ? appItself() : null);
    if (user === null) throw new RequestError("RECORD_ROLLED_BACK", "a user who was here is gone");
    const decision = await decide(user, userId);
    if (decision === null) return { done: false };
    if (decision.kind === "leave") return { done: true, result: decision.result };
    // Whatever comes of the write, memory must not speak for this user any more, nor what was read while it ran.
    this.#cache.drop(name);
    try {
      const isMade = await this.#records.write([
        change(userRecords, name, read, decision.kind === "erase" ? undefined : decision.user),
        ...(decision.also ?? []),
      ]);
      return isMade ? { done: true, result: decision.result } : { done: false };
    } finally {
      this.#cache.drop(name);
    }
  }
}
