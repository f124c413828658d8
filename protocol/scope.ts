/** What a session, or an API key, may do. Each list narrows it further; null stands for everything of its kind. */
import { APP_OPERATIONS, type AppOperation } from "./access.ts";
import { z } from "./zod.ts";

/** Ten sessions' scopes stand in one user's record. */
const MAX_LISTED = 16;

export const walletId = z.string().check(z.regex(/^wal_[0-9a-f]{32}$/, "expected wal_ and 32 hex digits"));
const UNGUARDED: ReadonlySet<AppOperation> = new Set(["enrol_totp", "confirm_totp", "totp_status"]);

/** CAIP-2, such as `eip155:1`. */
const chain = z.string().check(z.regex(/^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$/, "expected a CAIP-2 chain"));
export const operations = z.array(z.enum(APP_OPERATIONS as [AppOperation, ...AppOperation[]])).check(z.maxLength(64));

/** What can be guarded by a one-time password: not the way to one. */
export const guardable = operations.check(
  z.refine(
    (names) => !names.some((name) => UNGUARDED.has(name)),
    "enrol_totp, confirm_totp and totp_status cannot need a one-time password",
  ),
);

export const scope = z.strictObject({
  operations: z.nullable(operations),
  wallets: z.nullable(z.array(walletId).check(z.maxLength(MAX_LISTED))),
  /** Of what is signed. What belongs to no chain, such as a message, is outside every scope that lists chains. */
  chains: z.nullable(z.array(chain).check(z.maxLength(MAX_LISTED))),
});
export type Scope = z.output<typeof scope>;

/** Of an API key: its operations are always named, so that a later version's do not become its own. */
export const permissions = z.strictObject({ ...scope.shape, operations });
export type Permissions = z.output<typeof permissions>;

export const WHOLE_SCOPE: Scope = { operations: null, wallets: null, chains: null };
