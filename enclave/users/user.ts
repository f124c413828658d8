/** What the vault holds of a user: all of it in one record, so that no two parts of it can be of different ages. */
import { type Scope, scope, z } from "../../protocol/index.ts";
import type { ReadRecord, RecordKind } from "../vault/records.ts";

/** Somebody whom an issuer vouches for. */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
}

const linkedIdentity = z.strictObject({
  /** Of its record under `identity/`. */
  identityId: z.string(),
  issuer: z.string(),
  subject: z.string(),
  linkedAtMs: z.int(),
});
export type LinkedIdentity = z.output<typeof linkedIdentity>;

const userSession = z.strictObject({
  sessionId: z.string(),
  /** Which of the user's identities logged in. */
  identityId: z.string(),
  createdAtMs: z.int(),
  expiresAtMs: z.int(),
  scope: scope as z.ZodMiniType<Scope>,
  /** In whose place it came, so that a refresh which is asked for again is known again. */
  replaces: z.nullable(z.string()),
});
export type UserSession = z.output<typeof userSession>;

const userSchema = z.strictObject({
  /** Whose logins reach this user. It is this list that counts: a record under `identity/` only leads here. */
  identities: z.array(linkedIdentity),
  /** Live ones and some that have expired; the oldest first. */
  sessions: z.array(userSession),
  /** Tokens that were issued up to then log in nobody any more. */
  loginsAfterMs: z.int(),
});
export type User = z.output<typeof userSchema>;

/** `user/<appId>/<userId>` */
export const userRecords: RecordKind<User> = { prefix: "user/", schema: userSchema };

const identityLink = z.strictObject({ userId: z.string() });
export type IdentityLink = z.output<typeof identityLink>;

/** `identity/<appId>/<identityId>`: an index, which proves nothing by itself. */
export const identityRecords: RecordKind<IdentityLink> = { prefix: "identity/", schema: identityLink };

export type ReadUser = ReadRecord<User>;
