import { randomInt } from "node:crypto";
import { ERROR_CODES, type ErrorCode } from "../../protocol/index.ts";

export const RETRY_AFTER = "retry-after";

/** Callers who were refused in one moment for want of room do not come back in one. */
const LONGEST_S = 3;
/** An enclave that is away is back before anybody notices, or for long. */
const WHEN_UNREACHABLE_S = 1;

/**
 * When a caller may come back (RFC 9110, 10.2.3), with 429 and 503 whose code another try may mend: to a lockout, which
 * is 429 as well, a few seconds are no help.
 *
 * @returns Whole seconds, or undefined for all other answers.
 */
export function retryAfterOf(status: number, code: ErrorCode | undefined): number | undefined {
  if (code === undefined || (status !== 429 && status !== 503) || !ERROR_CODES[code].retry) return undefined;
  return code === "PARENT_ENCLAVE_UNREACHABLE" ? WHEN_UNREACHABLE_S : randomInt(1, LONGEST_S + 1);
}
