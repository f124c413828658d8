/** How an account is reached: passkeys, one-time passwords, identities; and what happened to it. */
import { erasureReceipt } from "../erasure.ts";
import { listedEvent } from "../events.ts";
import { newPasskey, passkey, passkeyId } from "../passkeys.ts";
import { policy } from "../policy.ts";
import { guardable, operations, scope } from "../scope.ts";
import { z } from "../zod.ts";
import { jwt, nothing } from "./ids.ts";
import { approval, of } from "./policies.ts";
import { wallet } from "./wallets.ts";

const linkedIdentity = z.strictObject({
  identityId: z.string().check(z.regex(/^idn_[0-9a-f]{32}$/)),
  issuer: z.string(),
  subject: z.string(),
  linkedAtMs: z.int(),
});
/** Ten, each good for one use; they are never shown again. */
const recoveryCodes = z.strictObject({ recoveryCodes: z.array(z.string()) });

/** What the vault holds of a user. Keys and secrets are not data on a person: they leave by `export_wallet`. */
const heldOnUser = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("user"),
    userId: z.string(),
    identities: z.array(linkedIdentity),
    sessions: z.array(
      z.strictObject({
        sessionId: z.string(),
        /** The identity's or the passkey's that began it. */
        identityId: z.string(),
        createdAtMs: z.int(),
        expiresAtMs: z.int(),
        scope,
      }),
    ),
    /** Tokens of before log in nobody. */
    loginsAfterMs: z.int(),
    passkeys: z.array(passkey),
    /** Null before the user enrols. */
    secondFactor: z.nullable(
      z.strictObject({
        confirmedAtMs: z.nullable(z.int()),
        recoveryCodesLeft: z.int(),
        requiredFor: z.array(z.string()),
        failures: z.int(),
      }),
    ),
    events: z.int(),
  }),
  z.strictObject({ kind: z.literal("policy"), of, version: z.int(), guardedSinceMs: z.int(), policy }),
  z.strictObject({ kind: z.literal("wallet"), wallet }),
  /** What one limit has counted within its window, and how many requests it remembers by a digest. */
  z.strictObject({ kind: z.literal("limit"), limitId: z.string(), sums: z.array(z.string()), requests: z.int() }),
  /** What the user has asked for, or has agreed to. */
  z.strictObject({ kind: z.literal("approval"), approval }),
  z.strictObject({ kind: z.literal("event"), event: listedEvent }),
]);
export type HeldOnUser = z.output<typeof heldOnUser>;
/** Where the next page begins. */
const exportCursor = z
  .string()
  .check(
    z.regex(
      /^(?:policies\/[0-9]{1,10}|wallets\/(?:wal_[0-9a-f]{32})?|limits\/(?:lim_[0-9a-f]{32})?|approvals\/(?:apr_[0-9a-f]{32})?|events\/[0-9]{1,10})$/,
      "expected what a page before gave",
    ),
  );

export const ACCOUNT_OPERATIONS = {
  /** Stamped by the session's key, and by the passkey that is to be registered. */
  register_passkey: { params: newPasskey, result: passkey },
  list_passkeys: { params: nothing, result: z.strictObject({ passkeys: z.array(passkey) }) },
  remove_passkey: { params: z.strictObject({ passkeyId }), result: nothing },
  /** A new secret, which guards nothing until `confirm_totp`. Only sealed. */
  enrol_totp: {
    params: z.strictObject({
      /** What the authenticator app shows beside the app's name, such as the user's address. */
      account: z.string().check(z.minLength(1), z.maxLength(64)),
    }),
    result: z.strictObject({
      /** Base32, for typing. */
      secret: z.string(),
      /** `otpauth://`, for a QR code. */
      uri: z.string(),
    }),
  },
  /** With a code of the new secret as `secondFactor`. Only sealed. */
  confirm_totp: { params: nothing, result: recoveryCodes },
  disable_totp: { params: nothing, result: nothing },
  /** What this user wants guarded beyond what the app guards. */
  require_totp: { params: z.strictObject({ operations: guardable }), result: nothing },
  totp_status: {
    params: nothing,
    result: z.strictObject({
      /** Null while no secret is confirmed. */
      confirmedAtMs: z.nullable(z.int()),
      recoveryCodesLeft: z.int(),
      /** The app's, this user's own, and what always is. */
      requiredFor: operations,
    }),
  },
  /** The old ones end. Only sealed. */
  regenerate_recovery_codes: { params: nothing, result: recoveryCodes },
  /** A login of the other identity, bound to the session's key like any login. */
  link_identity: { params: z.strictObject({ jwt }), result: linkedIdentity },
  list_identities: { params: nothing, result: z.strictObject({ identities: z.array(linkedIdentity) }) },
  unlink_identity: { params: z.strictObject({ identityId: linkedIdentity.shape.identityId }), result: nothing },
  list_events: {
    params: z.strictObject({
      /** The last event of the page before, or 0 for the first page. */
      after: z.int().check(z.nonnegative()),
    }),
    result: z.strictObject({
      events: z.array(listedEvent),
      more: z.boolean(),
      /** Ed25519, hex; of this vault, so it stays the same across boots. */
      publicKey: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    }),
  },
  /**
   * Page by page: first what the user's own record holds, then policies, wallets, limits, approvals and events. Only
   * sealed.
   */
  export_user: {
    params: z.strictObject({ after: z.nullable(exportCursor) }),
    result: z.strictObject({ items: z.array(heldOnUser), next: z.nullable(exportCursor) }),
  },
  /** Destroys every record of the user's, wallets with them. There is no way back. */
  erase_user: {
    params: z.strictObject({
      /** The user's own: nobody erases by mistake. */
      userId: z.string().check(z.maxLength(64)),
    }),
    result: erasureReceipt,
  },
} as const;
