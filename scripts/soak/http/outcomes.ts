/** What came of requests, and which of it belongs to any load: too much at once, an answer that came late or not at all. */
import { ERROR_CODES, type ErrorCode } from "../../../protocol/index.ts";

/** Before a code: it was waited for so long that times had passed. */
export const LATE = "LATE_";
/** Connections that were lost (nobody listens: the parent is gone), and clocks that stood apart for a while, after one of the processes, or all, had been stopped. */
const OF_A_PAUSE =
  /^(?!ECONNREFUSED)(?:LATE_.*|E[A-Z]+|CONNECTION_[A-Z]+|CALLER_TIMEOUT|REQUEST_STALE|REQUEST_FROM_FUTURE|UNREACHABLE)$/;

export class Outcomes {
  readonly #counts = new Map<string, number>();
  excused = 0;
  total = 0;

  add(outcome: string, times = 1): void {
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + times);
  }

  sorted(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort());
  }
}

export function isForLater(code: string): boolean {
  return OF_A_PAUSE.test(code) || (Object.hasOwn(ERROR_CODES, code) && ERROR_CODES[code as ErrorCode].retry);
}
