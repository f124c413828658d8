/** What the vault holds of a user: all of it in one record, so that no two parts of it can be of different ages. */
import { bytesOf, bytesUpTo, type Scope, scope, z } from "../../protocol/index.ts";
import { type SecondFactor, secondFactorSchema } from "../auth/totp/second-factor.ts";
import { policyPin } from "../policy/documents.ts";
import type { RecordKind } from "../vault/records.ts";

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
  /** Which of the user's identities logged in, or the id of the passkey that did. */
  identityId: z.string(),
  createdAtMs: z.int(),
  /** When the token was issued that began it: one that was kept is no new login. Not there where a passkey logged in. */
  issuedAtMs: z.exactOptional(z.int()),
  expiresAtMs: z.int(),
  scope: scope as z.ZodMiniType<Scope>,
  /** In whose place it came, so that a refresh which is asked for again is known again. */
  replaces: z.nullable(z.string()),
});
export type UserSession = z.output<typeof userSession>;

const userPasskey = z.strictObject({
  passkeyId: z.string(),
  credentialId: bytesUpTo(1023),
  name: z.string(),
  algorithm: z.enum(["ES256", "EdDSA", "RS256"]),
  /** SubjectPublicKeyInfo, DER. */
  publicKey: bytesUpTo(600),
  /** The last one seen; 0 for ever, for an authenticator that does not count. */
  signCount: z.int(),
  isBackupEligible: z.boolean(),
  isBackedUp: z.boolean(),
  createdAtMs: z.int(),
});
export type UserPasskey = z.output<typeof userPasskey>;

const userPolicy = z.strictObject({
  /** `user`, or the id of one of their wallets. */
  of: z.string(),
  pin: policyPin,
  version: z.int(),
  /** When there was first one: whoever would loosen it shows what they had by then. */
  guardedSinceMs: z.int(),
});
export type UserPolicy = z.output<typeof userPolicy>;

const userSchema = z.strictObject({
  /** Whose logins reach this user. It is this list that counts: a record under `identity/` only leads here. */
  identities: z.array(linkedIdentity),
  /** With whose login the user began: no session has added it. Not there in records of before. */
  firstIdentityId: z.exactOptional(z.string()),
  /** Live ones and some that have expired; the oldest first. */
  sessions: z.array(userSession),
  /** Tokens that were issued up to then log in nobody any more. */
  loginsAfterMs: z.int(),
  passkeys: z.array(userPasskey),
  /** Null before the user enrols. */
  secondFactor: z.nullable(secondFactorSchema as z.ZodMiniType<SecondFactor>),
  /** How many events there are, and the digest of the last one's text: none can be withheld. */
  events: z.strictObject({ count: z.int(), last: z.nullable(bytesOf(32)) }),
  /** What the user and their wallets may sign, beyond what the app says; not there in records of before. */
  policies: z.exactOptional(z.array(userPolicy)),
});
export type User = z.output<typeof userSchema>;

/** Somebody who logs in for the first time. */
export function newUser(identity: LinkedIdentity): User {
  return {
    identities: [identity],
    firstIdentityId: identity.identityId,
    sessions: [],
    loginsAfterMs: 0,
    passkeys: [],
    secondFactor: null,
    events: { count: 0, last: null },
  };
}

/** In a user's place, for wallets that belong to the app itself. No user's id looks like it, and nobody logs in as it. */
export const APP_ITSELF = "app";

/** The app itself holds events alone. */
export function appItself(): User {
  return {
    ...{ identities: [], sessions: [], loginsAfterMs: 0, passkeys: [], secondFactor: null },
    events: { count: 0, last: null },
  };
}

/** `user/<appId>/<userId>` */
export const userRecords: RecordKind<User> = { prefix: "user/", schema: userSchema };

const identityLink = z.strictObject({ userId: z.string() });
export type IdentityLink = z.output<typeof identityLink>;

/** `identity/<appId>/<identityId>`: an index, which proves nothing by itself. */
export const identityRecords: RecordKind<IdentityLink> = { prefix: "identity/", schema: identityLink };
