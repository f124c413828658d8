/** Sessions: which key may act for which user, and until when. */
import { encodeHex, RequestError, type Stamp, z } from "../../protocol/index.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type RecordKind, type Records } from "../vault/records.ts";
import type { VerifiedLogin } from "./verify-jwt.ts";

/** The oldest goes first. */
const MAX_SESSIONS_PER_USER = 10;
const MAX_ATTEMPTS = 5;
/** Kept in memory so that a request needs no record to be authenticated. */
const MAX_CACHED = 100_000;

const sessionSchema = z.strictObject({ userId: z.string(), expiresAtMs: z.int() });
const userSchema = z.strictObject({
  issuer: z.string(),
  subject: z.string(),
  sessions: z.array(z.strictObject({ sessionId: z.string(), expiresAtMs: z.int() })),
});

type SessionValue = z.output<typeof sessionSchema>;
type UserValue = z.output<typeof userSchema>;

const sessionRecords: RecordKind<SessionValue> = { prefix: "session/", schema: sessionSchema };
const userRecords: RecordKind<UserValue> = { prefix: "user/", schema: userSchema };

export interface Session {
  readonly sessionId: string;
  readonly userId: string;
  readonly expiresAtMs: number;
}

export class Sessions {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #nowMs: () => number;
  readonly #cache = new Map<string, SessionValue>();

  constructor(options: { readonly records: Records; readonly ids: Ids; readonly nowMs: () => number }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#nowMs = options.nowMs;
  }

  /**
   * Finds the live session of the key that stamped a request. The stamp has been verified.
   *
   * @throws {@link RequestError} `SESSION_UNKNOWN`, `SESSION_EXPIRED`, and what reading records throws
   */
  async find(appId: string, stamp: Stamp): Promise<Session> {
    const sessionId = this.#idOf(appId, stamp);
    const name = `${appId}/${sessionId}`;
    let value = this.#cache.get(name);
    if (value === undefined) {
      value = (await this.#records.read(sessionRecords, name))?.value;
      if (value === undefined) throw new RequestError("SESSION_UNKNOWN", "this key has no session in this app");
    }
    this.#remember(name, value);
    if (value.expiresAtMs <= this.#nowMs()) {
      throw new RequestError("SESSION_EXPIRED", "the session has expired: log in again");
    }
    return { sessionId, ...value };
  }

  /**
   * Gives a session to the key that stamped the login. User and session are written together.
   *
   * @param lifetimeMs - The app's; the token's own end comes first if it is earlier.
   * @throws {@link RequestError} `RECORD_CONFLICT`, and what records throw
   */
  async register(appId: string, stamp: Stamp, login: VerifiedLogin, lifetimeMs: number): Promise<Session> {
    const { issuer, subject } = login;
    const userId = this.#ids.derive("usr", [appId, issuer, subject]);
    const sessionId = this.#idOf(appId, stamp);
    const expiresAtMs = Math.min(this.#nowMs() + lifetimeMs, login.expiresAtMs);
    const session: SessionValue = { userId, expiresAtMs };
    const sessionName = `${appId}/${sessionId}`;
    const userName = `${appId}/${userId}`;

    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const user = await this.#records.read(userRecords, userName);
      const earlier = await this.#records.read(sessionRecords, sessionName);
      const others = (user?.value.sessions ?? []).filter((other) => other.sessionId !== sessionId);
      const sessions = [...others, { sessionId, expiresAtMs }].slice(-MAX_SESSIONS_PER_USER);
      const kept = new Set(sessions.map((each) => each.sessionId));
      const evicted = others.filter((other) => !kept.has(other.sessionId));
      const changes: Change[] = [
        change(userRecords, userName, user, { issuer, subject, sessions }),
        change(sessionRecords, sessionName, earlier, session),
        ...(await this.#deletions(appId, userId, evicted)),
      ];
      if (await this.#write(changes)) {
        this.#remember(sessionName, session);
        return { sessionId, ...session };
      }
    }
    throw new RequestError("RECORD_CONFLICT", "the user's sessions keep changing: try again");
  }

  /** Whatever comes of the write, memory must not speak for these keys any more; nor what was read while it ran. */
  async #write(changes: readonly Change[]): Promise<boolean> {
    const forget = () => {
      for (const { name } of changes) this.#cache.delete(name);
    };
    forget();
    try {
      return await this.#records.write(changes);
    } finally {
      forget();
    }
  }

  async #deletions(
    appId: string,
    userId: string,
    evicted: readonly { readonly sessionId: string }[],
  ): Promise<Change[]> {
    const names = evicted.map(({ sessionId }) => `${appId}/${sessionId}`);
    const read = await Promise.all(names.map((name) => this.#records.read(sessionRecords, name)));
    return names.flatMap((name, at) => {
      const record = read[at] ?? null;
      // A key that has since logged in as somebody else is no longer this user's to put out.
      return record === null || record.value.userId !== userId ? [] : [change(sessionRecords, name, record, undefined)];
    });
  }

  #idOf(appId: string, { scheme, publicKey }: Stamp): string {
    return this.#ids.derive("ses", [appId, scheme, encodeHex(publicKey)]);
  }

  /** Puts it at the end: the first in order is the one not used for longest. */
  #remember(name: string, value: SessionValue): void {
    this.#cache.delete(name);
    if (this.#cache.size >= MAX_CACHED) {
      const [oldest] = this.#cache.keys();
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(name, value);
  }
}
