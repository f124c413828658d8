/** Which failures another try may mend, and when to make it. */
import { ERROR_CODES } from "../protocol/index.ts";
import { ClientError, RefusedError } from "./errors.ts";

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 5_000;
const MAX_RETRY_AFTER_MS = 10_000;

/**
 * True for what says of itself that it may pass, and for no answer at all. Another try is safe: it has the same request
 * id, so that what the first may have done is found and not done again. What could not be taken for the enclave's answer
 * is never tried again: whoever gave it would get another request to look at.
 */
export function isWorthRetrying(error: unknown): boolean {
  if (error instanceof RefusedError) return ERROR_CODES[error.code].retry;
  return error instanceof ClientError && error.code === "UNREACHABLE";
}

/**
 * Doubles, with jitter: callers that lost the same enclave do not come back to it all at once. Who says when to come back
 * is not asked sooner, nor waited for longer than {@link MAX_RETRY_AFTER_MS}: whoever relays may say anything.
 */
export function retryDelayMs(attempt: number, retryAfterMs: number = 0): number {
  const backoffMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
  return Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) + backoffMs;
}

/** @returns Milliseconds. Of its two forms (RFC 9110, 10.2.3) seconds alone: a date would be by a clock of somebody's. */
export function parseRetryAfter(header: string | null): number | undefined {
  return header !== null && /^[0-9]{1,9}$/.test(header) ? Number(header) * 1_000 : undefined;
}
