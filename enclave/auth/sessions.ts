/** Sessions: which key may act for which user, how far, and until when. The user's record says so; here is the way to it. */
import { RequestError, type Scope, type Stamp, z } from "../../protocol/index.ts";
import type { AppSettings } from "../apps/app.ts";
import { RecencyMap } from "../recency-map.ts";
import type { User, UserSession } from "../users/user.ts";
import type { UserDecision, Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type RecordKind, type Records } from "../vault/records.ts";
import { CLOCK_TOLERANCE_S, type VerifiedLogin } from "./verify-jwt.ts";

/** The oldest goes first. */
const MAX_SESSIONS_PER_USER = 10;
const MAX_CACHED = 100_000;
const MAX_DERIVED = 10_000;

/** Over what the clocks of two enclaves differ by. */
const POINTER_MARGIN_MS = 60_000;

const pointerSchema = z.strictObject({ userId: z.string(), expiresAtMs: z.exactOptional(z.int()) });
type Pointer = z.output<typeof pointerSchema>;

/**
 * `session/<appId>/<sessionId>`: whose list has this session. Whether it is there is that list's to say. Nobody deletes
 * one: it goes by itself once its session could not be live any more.
 */
const sessionRecords: RecordKind<Pointer> = {
  prefix: "session/",
  schema: pointerSchema as z.ZodMiniType<Pointer>,
  expiresAtMs: ({ expiresAtMs }) => expiresAtMs ?? null,
};

export interface LiveSession {
  readonly userId: string;
  readonly user: User;
  readonly session: UserSession;
}

export interface RegisteredSession {
  readonly sessionId: string;
  readonly userId: string;
  readonly expiresAtMs: number;
}

export class Sessions {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #nowMs: () => number;
  readonly #pointers = new RecencyMap<string, string>(MAX_CACHED);
  /** Ids by what they are derived from: each request asks for its own several times. */
  readonly #derived = new RecencyMap<string, string>(MAX_DERIVED);

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly users: Users;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#users = options.users;
    this.#nowMs = options.nowMs;
  }

  /**
   * Finds the live session of the key that stamped a request. The stamp has been verified.
   *
   * @param maxAgeMs - Of what says that it is live; what says that it is not was read just now.
   * @throws {@link RequestError} `SESSION_UNKNOWN`, `SESSION_EXPIRED`, and what reading records throws
   */
  async find(appId: string, stamp: Stamp, maxAgeMs?: number): Promise<LiveSession> {
    const sessionId = this.idOf(appId, stamp);
    const name = `${appId}/${sessionId}`;
    const remembered = this.#pointers.get(name);
    const found = remembered === undefined ? null : await this.#findIn(appId, remembered, sessionId, maxAgeMs);
    // Not where it was: the key may have logged in as somebody else since, or just now at another enclave.
    const { userId, user, session } = found ?? (await this.#findAnew(appId, sessionId));
    this.#pointers.set(name, userId);
    this.#checkExpiry(session);
    return { userId, user, session };
  }

  /**
   * Gives a session to the key that stamped the login; user, identity and session are written together.
   *
   * @param asked.lifetimeMs - The token's own end comes first if it is earlier.
   * @throws {@link RequestError} `JWT_REVOKED`, `SESSION_KEY_TAKEN`, `RECORD_CONFLICT`, and what records throw
   */
  async register(
    appId: string,
    stamp: Stamp,
    login: VerifiedLogin,
    asked: { readonly lifetimeMs: number; readonly scope: Scope },
  ): Promise<RegisteredSession> {
    return this.#put(appId, stamp, login, asked.lifetimeMs, () => ({ scope: asked.scope, replaced: null }));
  }

  /**
   * Gives what a live session may do to another key of the same user's, and ends that session.
   *
   * @param asked.replaced - Its id.
   * @param asked.app - Whose rules must still let it live.
   * @throws {@link RequestError} `SESSION_UNKNOWN`, `SESSION_EXPIRED`; and as {@link register}
   */
  async refresh(
    appId: string,
    stamp: Stamp,
    login: VerifiedLogin,
    asked: { readonly lifetimeMs: number; readonly replaced: string; readonly app: AppSettings },
  ): Promise<RegisteredSession> {
    return this.#put(appId, stamp, login, asked.lifetimeMs, (user) => {
      const replaced = user.sessions.find((each) => each.sessionId === asked.replaced);
      const made = user.sessions.find((each) => each.sessionId === this.idOf(appId, stamp));
      // Asked for again after the answer was lost: the new key has the session already.
      if (made?.replaces === asked.replaced && made.sessionId !== asked.replaced)
        return { scope: made.scope, replaced: made };
      if (replaced === undefined) throw new RequestError("SESSION_UNKNOWN", "this user has no such session");
      this.#checkExpiry(replaced);
      this.checkRules(asked.app, user, replaced);
      return { scope: replaced.scope, replaced };
    });
  }

  /**
   * As {@link register}, for whoever logged in with a passkey.
   *
   * @throws {@link RequestError} `PASSKEY_UNKNOWN`, `SESSION_KEY_TAKEN`, `RECORD_CONFLICT`, and what records throw
   */
  async registerByPasskey(
    appId: string,
    stamp: Stamp,
    { userId, passkeyId }: { readonly userId: string; readonly passkeyId: string },
    { lifetimeMs, scope }: { readonly lifetimeMs: number; readonly scope: Scope },
  ): Promise<RegisteredSession> {
    const now = this.#nowMs();
    const begun = { identityId: passkeyId, createdAtMs: now, expiresAtMs: now + lifetimeMs, scope };
    this.#pointers.delete(`${appId}/${this.idOf(appId, stamp)}`);
    return this.#users.change(appId, userId, (user) => {
      // Removed since it was verified.
      if (user.passkeys.every((each) => each.passkeyId !== passkeyId)) {
        throw new RequestError("PASSKEY_UNKNOWN", "this passkey is nobody's in this app");
      }
      return this.#begin(appId, stamp, begun, { user, userId, replaced: null });
    });
  }

  /**
   * Ends a user's sessions, from the next request on.
   *
   * @param which - All, or one by its id. With all of them go the logins of before: see {@link User}.
   * @returns How many there were.
   * @throws {@link RequestError} `RECORD_CONFLICT`, `RECORDS_UNAVAILABLE` (whether they have ended is unknown: ask again)
   */
  async revoke(appId: string, userId: string, which: "all" | { readonly sessionId: string }): Promise<number> {
    const now = this.#nowMs();
    return this.#users.change(appId, userId, (user) => {
      const ended =
        which === "all" ? user.sessions : user.sessions.filter((each) => each.sessionId === which.sessionId);
      if (ended.length === 0 && which !== "all") return { kind: "leave", result: 0 };
      return {
        kind: "write",
        user: {
          ...user,
          sessions: user.sessions.filter((each) => !ended.includes(each)),
          // And those that an issuer, whose clock may be ahead, has dated up to then.
          loginsAfterMs: which === "all" ? now + CLOCK_TOLERANCE_S * 1000 : user.loginsAfterMs,
        },
        result: ended.filter((each) => each.expiresAtMs > now).length,
      };
    });
  }

  /** Those of a user's that are live, the oldest first. */
  liveOf(user: User, app: AppSettings): readonly UserSession[] {
    const now = this.#nowMs();
    return user.sessions.filter((each) => each.expiresAtMs > now && refusalOf(app, user, each, now) === null);
  }

  /**
   * Judges a session by the app as it is configured by now: what an app stopped taking ends the sessions that it began.
   *
   * @throws {@link RequestError} `SESSION_UNKNOWN`, `SESSION_EXPIRED`
   */
  checkRules(app: AppSettings, user: User, session: UserSession): void {
    const refusal = refusalOf(app, user, session, this.#nowMs());
    if (refusal !== null) throw refusal;
  }

  async #put(
    appId: string,
    stamp: Stamp,
    login: VerifiedLogin,
    lifetimeMs: number,
    decideScope: (user: User) => { readonly scope: Scope; readonly replaced: UserSession | null },
  ): Promise<RegisteredSession> {
    const now = this.#nowMs();
    const expiresAtMs = Math.min(now + lifetimeMs, login.expiresAtMs);
    const identityId = this.#users.identityIdOf(appId, login);
    const decide = (user: User, userId: string) => {
      if (login.issuedAtMs <= user.loginsAfterMs) {
        throw new RequestError("JWT_REVOKED", "issued before the user ended all sessions: log in at the issuer again");
      }
      const { scope, replaced } = decideScope(user);
      const begun = { identityId, createdAtMs: now, issuedAtMs: login.issuedAtMs, expiresAtMs, scope };
      return this.#begin(appId, stamp, begun, { user, userId, replaced });
    };
    this.#pointers.delete(`${appId}/${this.idOf(appId, stamp)}`);
    return this.#users.changeByIdentity(appId, login, decide);
  }

  /** What the user becomes with one session more: the oldest one and the replaced one end. */
  async #begin(
    appId: string,
    stamp: Stamp,
    begun: Omit<UserSession, "sessionId" | "replaces">,
    of: { readonly user: User; readonly userId: string; readonly replaced: UserSession | null },
  ): Promise<UserDecision<RegisteredSession>> {
    const { user, userId, replaced } = of;
    const sessionId = this.idOf(appId, stamp);
    const name = `${appId}/${sessionId}`;
    // Its own, where the same key goes on: that a session was refreshed and not begun by a login stays known.
    const earlierReplaced = replaced?.sessionId === sessionId ? replaced.replaces : null;
    const replaces = earlierReplaced ?? replaced?.sessionId ?? null;
    const session: UserSession = { sessionId, ...begun, replaces };
    const { createdAtMs: now, expiresAtMs } = begun;
    const others = user.sessions.filter((other) => other.sessionId !== sessionId);
    const live = others.filter((other) => other !== replaced && other.expiresAtMs > now);
    const kept = live.slice(1 - MAX_SESSIONS_PER_USER);
    const earlier = await this.#records.read(sessionRecords, name);
    if (earlier !== null && earlier.value.userId !== userId)
      await this.#checkFree(appId, earlier.value.userId, sessionId);
    return {
      kind: "write",
      user: { ...user, sessions: [...kept, session] },
      also: [
        // Also where it leads here already: of two users who take one key at once, one write fails and is decided on again.
        change(sessionRecords, name, earlier, { userId, expiresAtMs: expiresAtMs + POINTER_MARGIN_MS }),
      ],
      result: { sessionId, userId, expiresAtMs },
    };
  }

  /**
   * A key acts for one user at a time: whoever could lead it elsewhere while its session lives would have its holder, who
   * notices nothing, act in an account that is not theirs.
   */
  async #checkFree(appId: string, otherId: string, sessionId: string): Promise<void> {
    const other = await this.#users.get(appId, otherId, 0);
    if (other === null) throw new RequestError("RECORD_ROLLED_BACK", "a user who was here is gone");
    const now = this.#nowMs();
    if (!other.sessions.some((each) => each.sessionId === sessionId && each.expiresAtMs > now)) return;
    throw new RequestError("SESSION_KEY_TAKEN", "this key has a session of another user's: end it, or take a new key");
  }

  #checkExpiry({ expiresAtMs }: UserSession): void {
    if (expiresAtMs <= this.#nowMs()) {
      throw new RequestError("SESSION_EXPIRED", "the session has expired: log in again");
    }
  }

  idOf(appId: string, { scheme, publicKey }: Stamp): string {
    // In one piece: as a key that is kept it would else be kept with all its parts.
    const hex = Buffer.from(publicKey).toString("hex");
    const key = `${appId}/${scheme}/${hex}`;
    const derived = this.#derived.use(key);
    if (derived !== undefined) return derived;
    const id = this.#ids.derive("ses", [appId, scheme, hex]);
    this.#derived.set(key, id);
    return id;
  }

  async #findAnew(appId: string, sessionId: string): Promise<LiveSession> {
    const pointer = await this.#records.read(sessionRecords, `${appId}/${sessionId}`);
    const found = pointer === null ? null : await this.#findIn(appId, pointer.value.userId, sessionId, 0);
    if (found === null) throw new RequestError("SESSION_UNKNOWN", "this key has no session in this app");
    return found;
  }

  async #findIn(appId: string, userId: string, sessionId: string, maxAgeMs?: number): Promise<LiveSession | null> {
    const user = await this.#users.get(appId, userId, maxAgeMs);
    const session = user?.sessions.find((each) => each.sessionId === sessionId);
    return user === null || session === undefined ? null : { userId, user, session };
  }
}

function refusalOf(app: AppSettings, user: User, session: UserSession, nowMs: number): RequestError | null {
  const { identityId, createdAtMs } = session;
  const identity = user.identities.find((each) => each.identityId === identityId);
  const isByPasskey = user.passkeys.some((each) => each.passkeyId === identityId);
  const isTaken =
    identity === undefined
      ? isByPasskey && app.passkeys !== null
      : app.issuers.some(({ issuer }) => issuer === identity.issuer);
  if (!isTaken) return new RequestError("SESSION_UNKNOWN", "the app does not take any more what began this session");
  if (createdAtMs + app.maxSessionLifetimeS * 1000 > nowMs) return null;
  return new RequestError("SESSION_EXPIRED", "the session is older than the app lets any be by now: log in again");
}
