/** How an account is reached: passkeys, one-time passwords, identities; and what happened to it. */
import { listedEvent } from "../events.ts";
import { newPasskey, passkey, passkeyId } from "../passkeys.ts";
import { guardable, operations } from "../scope.ts";
import { z } from "../zod.ts";
import { jwt, nothing } from "./ids.ts";

const linkedIdentity = z.strictObject({
  identityId: z.string().check(z.regex(/^idn_[0-9a-f]{32}$/)),
  issuer: z.string(),
  subject: z.string(),
  linkedAtMs: z.int(),
});
/** Ten, each good for one use; they are never shown again. */
const recoveryCodes = z.strictObject({ recoveryCodes: z.array(z.string()) });

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
} as const;
