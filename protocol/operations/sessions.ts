/** Logins, and the sessions that they make. */
import { lifetimeS } from "../app-config.ts";
import { credentialId } from "../passkeys.ts";
import { scope } from "../scope.ts";
import { z } from "../zod.ts";
import { jwt, sessionId } from "./ids.ts";

const registered = z.strictObject({ sessionId, userId: z.string(), expiresAtMs: z.int() });

export const SESSION_OPERATIONS = {
  register_session: {
    params: z.strictObject({
      jwt,
      /** Everything unless given. */
      scope: z.exactOptional(scope),
      /** The app's `sessionLifetimeS` unless given; cut to the app's maximum and the token's own end. */
      lifetimeS: z.exactOptional(lifetimeS),
    }),
    result: registered,
  },
  /** Stamped by the key that is to get the session, and by the passkey. */
  register_session_with_passkey: {
    params: z.strictObject({
      /** The key that stamps beside the passkey: named here, so that none can be put in its place. */
      publicKey: z.string().check(z.regex(/^(?:[0-9a-f]{2}){32,33}$/, "expected a public key in lower-case hex")),
      /** The passkey's, base64url, where it is known before the user is asked: then no other logs in. */
      credentialId: z.exactOptional(credentialId),
      scope: z.exactOptional(scope),
      lifetimeS: z.exactOptional(lifetimeS),
    }),
    result: registered,
  },
  /** Puts another key in the place of a live session's, under a token for it. The scope stays. */
  refresh_session: {
    params: z.strictObject({ jwt, sessionId, lifetimeS: z.exactOptional(lifetimeS) }),
    result: registered,
  },
  list_sessions: {
    params: z.strictObject({}),
    result: z.strictObject({
      /** Live ones, the oldest first. */
      sessions: z.array(
        z.strictObject({
          sessionId,
          createdAtMs: z.int(),
          expiresAtMs: z.int(),
          scope,
          /** That of the key which asks. */
          isCurrent: z.boolean(),
        }),
      ),
    }),
  },
  /** Ends one of the user's sessions, or tells that there is none of this id. */
  revoke_session: {
    params: z.strictObject({ sessionId }),
    result: z.strictObject({ isRevoked: z.boolean() }),
  },
  /** Ends all of them, this one too; tokens that were issued before log nobody in any more. */
  revoke_all_sessions: { params: z.strictObject({}), result: z.strictObject({ revoked: z.int() }) },
} as const;
