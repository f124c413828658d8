const FIRST_MS = 1_000;
const LONGEST_MS = 5 * 60_000;

/** One that ran for so long did not fail at its start: the count of failures begins anew. */
export const STABLE_AFTER_MS = 10 * 60_000;

/** How long to wait after the n-th failure in a row: 1 s, doubling, 5 min at the most. @param failures - From 1. */
export function backoffMs(failures: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
}
