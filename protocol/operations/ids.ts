/** Shapes that operations of several kinds share. */
import { z } from "../zod.ts";

/** Lower case, so that one value has one spelling. */
export const hexBytes = (maxBytes: number) =>
  z.string().check(z.regex(/^0x(?:[0-9a-f]{2})*$/, "expected 0x and lower-case hex"), z.maxLength(2 + 2 * maxBytes));
export const appId = z.string().check(z.regex(/^app_[0-9a-f]{32}$/, "expected app_ and 32 hex digits"));
export const jwt = z.string().check(z.minLength(1), z.maxLength(16_384));
export const sessionId = z.string().check(z.regex(/^ses_[0-9a-f]{32}$/, "expected ses_ and 32 hex digits"));
export const userId = z.string().check(z.regex(/^usr_[0-9a-f]{32}$/, "expected usr_ and 32 hex digits"));
export const approvalId = z.string().check(z.regex(/^apr_[0-9a-f]{32}$/, "expected apr_ and 32 hex digits"));
export const nothing = z.strictObject({});
